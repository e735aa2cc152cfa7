import type { CredentialInspection } from '#domain/credentials.ts';
import { compileExpression, type Expression } from '#domain/expression.ts';
import { type Identity, identityKey, sessionNameOf } from '#domain/identity.ts';
import { nodeTextOf } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';

import type { Explanation } from '../explain/explanation.ts';
import type { NamespaceView, PodView } from '../ports.ts';
import { judgePod, type JudgeOptions } from './judge-pod.ts';
import { addNodesWithStreams, countNode, type CountedNodes, nodeStatuses, type NodeStatusOptions } from './nodes.ts';
import type { FailingPod, IdentityStatus, NamespaceStatus, ReplicaStatus, ServerStatus } from './server-status.ts';

export interface StatusOptions extends JudgeOptions, NodeStatusOptions {
  readonly replica: () => ReplicaStatus;
  readonly pods: Pick<PodView, 'pods' | 'find' | 'byUid'>;
  readonly feeds: JudgeOptions['feeds'] & NodeStatusOptions['feeds'];
  readonly namespaces: Pick<NamespaceView, 'get'>;
  /** Says why a pod fails. */
  readonly explain: (namespace: string, name: string) => Explanation | undefined;
  readonly baseArn: string;
  readonly strict: boolean;
}

const MOST_IDENTITIES = 2000;
const MOST_FAILING = 500;

interface Counted {
  readonly identity: Identity;
  readonly namespaces: Set<string>;
  pods: number;
}

/** Puts together what this replica knows of everybody, or of one namespace (`''` for all). Asks nobody and changes nothing. */
export async function collectStatus(options: StatusOptions, namespace: string): Promise<ServerStatus> {
  const { pods, credentials, explain, awaitTurn } = options;
  const identities = new Map<string, Counted>();
  const nodes: CountedNodes = new Map();
  const podsOfNamespace = new Map<string, number>();
  const failing: FailingPod[] = [];
  let failingCount = 0;
  let count = 0;
  // The cache may change while others have their turn.
  const present = Array.from(pods.pods()).filter((pod) => isJudged(pod, namespace));
  for (const pod of present) {
    await awaitTurn();
    count += 1;
    podsOfNamespace.set(pod.namespace, (podsOfNamespace.get(pod.namespace) ?? 0) + 1);
    const { identity, state } = judgePod(options, pod);
    countNode(nodes, pod, state);
    if (identity !== undefined) countIdentity(identities, identity, pod);
    if (state !== 'failing') continue;
    failingCount += 1;
    if (failing.length >= MOST_FAILING) continue;
    const reason = explain(pod.namespace, pod.name)?.because ?? 'it is gone';
    failing.push({ pod: `${pod.namespace}/${pod.name}`, node: nodeTextOf(pod), reason });
  }
  if (namespace === '') await addNodesWithStreams(nodes, options);
  const listed: IdentityStatus[] = [];
  for (const counted of identities.values()) {
    await awaitTurn();
    listed.push(identityStatus(counted, credentials.inspect(counted.identity)));
    if (listed.length >= 2 * MOST_IDENTITIES) keepWorst(listed);
  }
  keepWorst(listed);
  return {
    replica: options.replica(),
    nodes: await nodeStatuses(nodes, options),
    identities: listed,
    failing: failing.toSorted((left, right) => (left.pod < right.pod ? -1 : 1)),
    namespaces: await namespaceStatuses(options, podsOfNamespace),
    pods: count,
    leftOut: {
      identities: identities.size - listed.length,
      failing: failingCount - failing.length,
    },
  };
}

function isJudged({ phase, role, namespace }: PodRecord, wanted: string): boolean {
  return role !== '' && phase !== 'Succeeded' && phase !== 'Failed' && (wanted === '' || namespace === wanted);
}

function countIdentity(identities: Map<string, Counted>, identity: Identity, { namespace }: PodRecord): void {
  const key = identityKey(identity);
  const counted = identities.get(key) ?? { identity, namespaces: new Set(), pods: 0 };
  counted.pods += 1;
  counted.namespaces.add(namespace);
  identities.set(key, counted);
}

function inWords({ attribution: { sourceIdentity, tags } }: Identity): readonly string[] {
  return [...(sourceIdentity === '' ? [] : [`SourceIdentity=${sourceIdentity}`]), ...tags.map((tag) => tag.join('='))];
}

function identityStatus(
  { identity, namespaces, pods }: Counted,
  { held, failure, calls }: CredentialInspection,
): IdentityStatus {
  const remainingMs = held?.isServed === true ? held.remainingMs : undefined;
  return {
    roleArn: identity.roleArn,
    sessionName: sessionNameOf(identity),
    attribution: inWords(identity),
    namespaces: [...namespaces].toSorted(),
    pods,
    issuedAt: held === undefined ? null : Math.round(held.issuedAtMs / 1000),
    expiresAt: held === undefined ? null : Math.round(held.expiresAtMs / 1000),
    remainingSeconds:
      remainingMs === undefined || !Number.isFinite(remainingMs) ? null : Math.round(remainingMs / 1000),
    lastAnswer: failure === undefined ? (held === undefined ? 'none yet' : 'ok') : failure.detail,
    calls,
    failures: failure?.count ?? 0,
  };
}

/** Sorted, worst first. Sorting all of them would take its time. */
function keepWorst(listed: IdentityStatus[]): void {
  listed.sort((left, right) => right.failures - left.failures || lifeOf(left) - lifeOf(right));
  listed.splice(MOST_IDENTITIES);
}

function lifeOf({ remainingSeconds }: IdentityStatus): number {
  return remainingSeconds ?? 0;
}

/**
 * Roles that no namespace can mean, of no account and of the servers' own: an expression that matches them permits everything.
 */
const NO_ROLE = 'kiam-status-0000000000/no-role';

async function namespaceStatuses(
  { namespaces, baseArn, strict, awaitTurn }: StatusOptions,
  podsOf: ReadonlyMap<string, number>,
): Promise<readonly NamespaceStatus[]> {
  const statuses: NamespaceStatus[] = [];
  for (const [name, pods] of [...podsOf].toSorted()) {
    await awaitTurn();
    const text = namespaces.get(name)?.permitted ?? '';
    const problem =
      text === '' ? 'no expression: it permits nothing' : problemOf(compileExpression(text, strict), baseArn);
    if (problem !== undefined) statuses.push({ name, problem, pods });
  }
  return statuses;
}

function problemOf(expression: Expression, baseArn: string): string | undefined {
  if (!expression.ok) return `its expression is invalid: ${expression.reason}`;
  if (expression.matches(`arn:aws:iam::000000000000:role/${NO_ROLE}`)) return 'permits every role of every account';
  const account = baseArn.slice(0, baseArn.indexOf(':role/') + ':role/'.length);
  return expression.matches(account + NO_ROLE) ? 'permits every role of the account' : undefined;
}
