import type { CredentialInspection } from '#domain/credentials.ts';
import { compileExpression, type Expression } from '#domain/expression.ts';
import { type Identity, identityKey } from '#domain/identity.ts';
import { type NodeId, nodeTextOf } from '#domain/node.ts';
import { ownsItsAddress, type PodRecord } from '#domain/pod.ts';
import { stsSessionName } from '#domain/session-name.ts';
import type { AwaitTurn } from '#runtime/turn-budget.ts';

import type { Explanation } from '../explain/explanation.ts';
import type { NodeFeeds } from '../node-feeds.ts';
import type { NamespaceView, PodView } from '../ports.ts';
import type {
  FailingPod,
  IdentityStatus,
  NamespaceStatus,
  NodeStatus,
  ReplicaStatus,
  ServerStatus,
} from './server-status.ts';

export interface StatusOptions {
  readonly replica: () => ReplicaStatus;
  readonly pods: Pick<PodView, 'pods' | 'find'>;
  readonly namespaces: Pick<NamespaceView, 'get'>;
  /** See `CollectOptions.nodeOf` of `explain/`. */
  readonly nodeOf: (pod: PodRecord) => NodeId | undefined;
  /** What the pod is to STS; undefined where policy refuses it. */
  readonly identify: (pod: PodRecord) => Identity | undefined;
  readonly credentials: { inspect(identity: Identity): CredentialInspection };
  readonly feeds: Pick<NodeFeeds, 'ofPod'>;
  /** Says why a pod fails. */
  readonly explain: (namespace: string, name: string) => Explanation | undefined;
  readonly baseArn: string;
  readonly strict: boolean;
  /** Called before each pod: other work goes on in between. */
  readonly awaitTurn: AwaitTurn;
}

const MOST_IDENTITIES = 2000;
const MOST_FAILING = 500;

interface Counted {
  readonly identity: Identity;
  readonly namespaces: Set<string>;
  pods: number;
}

interface CountedNode {
  readonly first: PodRecord;
  pods: number;
  failing: number;
}

/** Puts together what this replica knows of everybody, or of one namespace (`''` for all). Asks nobody and changes nothing. */
export async function collectStatus(options: StatusOptions, namespace: string): Promise<ServerStatus> {
  const { pods, identify, credentials, explain, awaitTurn } = options;
  const identities = new Map<string, Counted>();
  const nodes = new Map<string, CountedNode>();
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
    const identity = ownsItsAddress(pod) ? identify(pod) : undefined;
    const isFailing =
      identity === undefined || isRefusedByOthers(options, pod) || hasFailed(credentials.inspect(identity));
    const node = nodes.get(nodeTextOf(pod)) ?? { first: pod, pods: 0, failing: 0 };
    nodes.set(nodeTextOf(pod), { ...node, pods: node.pods + 1, failing: node.failing + (isFailing ? 1 : 0) });
    if (identity !== undefined) countIdentity(identities, identity, pod);
    if (!isFailing) continue;
    failingCount += 1;
    if (failing.length >= MOST_FAILING) continue;
    const reason = explain(pod.namespace, pod.name)?.because ?? 'it is gone';
    failing.push({ pod: `${pod.namespace}/${pod.name}`, node: nodeTextOf(pod), reason });
  }
  const listed = [...identities.values()].map((counted) =>
    identityStatus(counted, credentials.inspect(counted.identity)),
  );
  const sorted = listed.toSorted((left, right) => right.failures - left.failures || lifeOf(left) - lifeOf(right));
  return {
    replica: options.replica(),
    nodes: [...nodes].map(([name, node]) => nodeStatus(options, name, node)).toSorted(byNode),
    identities: sorted.slice(0, MOST_IDENTITIES),
    failing: failing.toSorted((left, right) => (left.pod < right.pod ? -1 : 1)),
    namespaces: namespaceStatuses(options, podsOfNamespace),
    pods: count,
    leftOut: {
      identities: Math.max(0, sorted.length - MOST_IDENTITIES),
      failing: failingCount - failing.length,
    },
  };
}

function isJudged({ phase, role, namespace }: PodRecord, wanted: string): boolean {
  return role !== '' && phase !== 'Succeeded' && phase !== 'Failed' && (wanted === '' || namespace === wanted);
}

/** Another pod claims each of its addresses as well. */
function isRefusedByOthers({ pods, nodeOf }: StatusOptions, pod: PodRecord): boolean {
  const isOwn = (address: string): boolean => {
    const found = pods.find(address, { node: nodeOf(pod) });
    return found.kind === 'found' && found.pod.uid === pod.uid;
  };
  return pod.addresses.length > 0 && !pod.addresses.some(isOwn);
}

function hasFailed({ held, failure }: CredentialInspection): boolean {
  return held?.isServed !== true && failure !== undefined;
}

function countIdentity(identities: Map<string, Counted>, identity: Identity, { namespace }: PodRecord): void {
  const key = identityKey(identity);
  const counted = identities.get(key) ?? { identity, namespaces: new Set(), pods: 0 };
  counted.pods += 1;
  counted.namespaces.add(namespace);
  identities.set(key, counted);
}

function identityStatus(
  { identity, namespaces, pods }: Counted,
  { held, failure, calls }: CredentialInspection,
): IdentityStatus {
  const remainingMs = held?.isServed === true ? held.remainingMs : undefined;
  return {
    roleArn: identity.roleArn,
    sessionName: stsSessionName(identity.sessionName),
    namespaces: [...namespaces].toSorted(),
    pods,
    remainingSeconds:
      remainingMs === undefined || !Number.isFinite(remainingMs) ? null : Math.round(remainingMs / 1000),
    lastAnswer: failure === undefined ? (held === undefined ? 'none yet' : 'ok') : failure.detail,
    calls,
    failures: failure?.count ?? 0,
  };
}

function lifeOf({ remainingSeconds }: IdentityStatus): number {
  return remainingSeconds ?? 0;
}

function nodeStatus({ feeds }: StatusOptions, node: string, { first, pods, failing }: CountedNode): NodeStatus {
  const streams = feeds.ofPod(first);
  return {
    node,
    streams: streams.length,
    synced: streams.some((feed) => feed.inspect(first.uid).isSynced),
    pods,
    failing,
  };
}

function byNode(left: NodeStatus, right: NodeStatus): number {
  return left.node < right.node ? -1 : 1;
}

/** Roles that no namespace can mean, of no account and of the servers' own: an expression that matches them permits everything. */
const NO_ROLE = 'kiam-status-0000000000/no-role';

function namespaceStatuses(
  { namespaces, baseArn, strict }: StatusOptions,
  podsOf: ReadonlyMap<string, number>,
): readonly NamespaceStatus[] {
  return [...podsOf].toSorted().flatMap(([name, pods]) => {
    const text = namespaces.get(name)?.permitted ?? '';
    const problem =
      text === '' ? 'no expression: it permits nothing' : problemOf(compileExpression(text, strict), baseArn);
    return problem === undefined ? [] : [{ name, problem, pods }];
  });
}

function problemOf(expression: Expression, baseArn: string): string | undefined {
  if (!expression.ok) return `its expression is invalid: ${expression.reason}`;
  if (expression.matches(`arn:aws:iam::000000000000:role/${NO_ROLE}`)) return 'permits every role of every account';
  const account = baseArn.slice(0, baseArn.indexOf(':role/') + ':role/'.length);
  return expression.matches(account + NO_ROLE) ? 'permits every role of the account' : undefined;
}
