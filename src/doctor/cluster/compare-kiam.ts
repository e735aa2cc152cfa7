import { createExpressions } from '#domain/allowed-roles.ts';
import { compileAsKiam, compileExpression } from '#domain/expression.ts';
import { plainSessions } from '#domain/attribution.ts';
import { externalIdProblem } from '#domain/iam-grammar.ts';
import { identityOf, sessionNameOf } from '#domain/identity.ts';
import { type NamespaceRecord, PERMITTED_ANNOTATION } from '#domain/namespace.ts';
import { ownsItsAddress, type PodRecord, ROLE_ANNOTATION } from '#domain/pod.ts';
import { decide } from '#domain/policy.ts';
import { resolveRole } from '#domain/role.ts';
import { shortened } from '#runtime/text.ts';

import { type Observation, cannotTell, ok, wrong } from '../finding.ts';
import { hasTopLevelAlternatives } from './alternatives.ts';
import { type Cluster, isShort, livePods } from './cluster.ts';
import { expressionAdvice } from './expression-advice.ts';

/**
 * The major version of Kiam that is compared with. Up to 3 an expression is searched for in the role as it is asked for
 * (`pkg/server/policy.go` of v2.8 and v3.6); since 4 it is anchored and matched against the resolved ARN.
 */
export type KiamVersion = 3 | 4;

/** What a program answers a pod that asks for its own role. */
type Answer = { readonly served: true } | { readonly served: false; readonly reason: string };

/** As {@link Answer}, with what is to be done about a refusal. */
type OurAnswer = { readonly served: true } | { readonly served: false; readonly reason: string; readonly fix: string };

/**
 * Every pod whose answer would change when this program replaces uswitch/kiam, and every namespace whose expression would mean
 * something else, from what the cluster holds now. A pod that loses its role is an error; one that gains it is reported.
 */
export function compareWithKiam(cluster: Cluster, version: KiamVersion): Observation[] {
  const namespaces = new Map(cluster.namespaces.map((namespace) => [namespace.name, namespace]));
  const answers = { kiam: createKiam(cluster, version), here: createHere(cluster) };
  const affected = new Set<string>();
  const compared = livePods(cluster).filter((pod) => pod.role !== '' || pod.annotated.role !== '');
  const pods = compared.flatMap((pod) => {
    const where = `${pod.namespace}/${pod.name}`;
    const short = [pod.role, pod.annotated.role].find((role) => role !== '' && isShort(role));
    if (cluster.baseArn === undefined && short !== undefined) {
      const says = `${where}: the ARN of its short role ${short} is not known`;
      return [cannotTell(says, 'give --role-base-arn as Kiam’s server has it')];
    }
    const namespace = namespaces.get(pod.namespace);
    const kiam = answers.kiam(pod, namespace);
    const here = answers.here(pod, namespace);
    if (kiam.served !== here.served) affected.add(pod.namespace);
    return comparePod(where, pod, kiam, here);
  });
  const different = cluster.namespaces
    .filter(({ name }) => !affected.has(name))
    .flatMap((namespace) => compareNamespace(namespace, cluster.strict, version));
  const observations = [...pods, ...different];
  const answered = ok(`all pods with a role, ${compared.length}, are answered as by Kiam`);
  const sessions = compareSessions(cluster, compared.filter(ownsItsAddress));
  return [...(observations.length > 0 ? observations : [answered]), ...sessions];
}

/** Who sees sessions in CloudTrail or names them in a policy sees other names, and roles need other permissions. */
function compareSessions({ sessions }: Cluster, pods: readonly PodRecord[]): Observation[] {
  const observations: Observation[] = [];
  const [first] = pods;
  if (first === undefined) return observations;
  const identity = identityOf(first, '', sessions);
  const kiam = sessionNameOf(identityOf(first, '', plainSessions(sessions.defaultName)));
  const own = `${first.namespace}/${first.name}`;
  if (sessions.nameTemplate !== undefined) {
    const says = `sessions have other names than Kiam's: that of ${own} is ${sessionNameOf(identity)}, with Kiam ${kiam}`;
    observations.push(cannotTell(says, 'change the policies, trust policies and audits that depend on the names'));
  }
  const { sourceIdentity, tags } = identity.attribution;
  if (sourceIdentity !== '') {
    const says = `sessions have a source identity, that of ${own} is ${sourceIdentity}`;
    observations.push(cannotTell(says, `allow sts:SetSourceIdentity ${WHERE}`));
  }
  if (sessions.tags !== 'off') {
    const says = `sessions have tags, those of ${own} are ${tags.map((tag) => tag.join('=')).join(', ')}`;
    observations.push(cannotTell(says, `allow sts:TagSession ${WHERE}`));
  }
  return observations;
}

const WHERE = 'in the policy of the server’s role and the trust policies of the pods’ roles (docs/iam.md)';

function comparePod(where: string, pod: PodRecord, kiam: Answer, here: OurAnswer): Observation[] {
  const ofKiam = pod.annotated.role;
  if (kiam.served && !here.served) {
    return [wrong(`${where}: Kiam serves ${ofKiam}; here it is refused: ${here.reason}`, here.fix)];
  }
  if (!kiam.served && here.served)
    return [ok(`${where}: Kiam refuses ${pod.role} (${kiam.reason}); here it is served`)];
  if (kiam.served && pod.role !== ofKiam) {
    const says = `${where}: Kiam serves ${ofKiam}, as annotated; here it gets ${pod.role}, from its ServiceAccount`;
    return [wrong(says, `give --binding=both, or the ServiceAccount ${pod.serviceAccount} the role ${ofKiam}`)];
  }
  if (kiam.served && pod.role.startsWith('/')) {
    // Recorded: Kiam redirects `…/security-credentials//path/name` to the clean path.
    return [
      ok(`${where}: Kiam redirects SDKs that ask for ${pod.role}, and many fail; here they are answered at once`),
    ];
  }
  return [];
}

/** Kiam, as it was recorded and read (test/conformance, and its pkg/server/policy.go and pkg/k8s/pod_cache.go). */
function createKiam({ pods, baseArn = '', strict }: Cluster, version: KiamVersion) {
  // It knows a pod by its first address, and hostNetwork pods like any other.
  const live = pods.filter(({ phase }) => phase !== 'Succeeded' && phase !== 'Failed');
  const holders = Map.groupBy(live, ({ addresses: [first = ''] }) => first);
  const matches = createKiamMatcher(strict && version === 4);
  return (pod: PodRecord, namespace: NamespaceRecord | undefined): Answer => {
    const [address = ''] = pod.addresses;
    if (address !== '' && (holders.get(address)?.length ?? 0) > 1) {
      return { served: false, reason: 'multiple running pods found' };
    }
    // It knows nothing of ServiceAccounts.
    if (pod.annotated.role === '') return { served: false, reason: 'the pod itself is annotated with no role' };
    const resolved = resolveRole(pod.annotated.role, baseArn);
    if (!resolved.ok) return { served: false, reason: resolved.reason };
    // Kiam still asks STS, which refuses it.
    const problem = externalIdProblem(pod.annotated.externalId);
    if (problem !== undefined) return { served: false, reason: problem };
    const permitted = namespace?.permitted ?? '';
    const judged = version === 4 ? resolved.role.arn : pod.annotated.role;
    if (permitted !== '' && matches(permitted, judged)) return { served: true };
    return { served: false, reason: 'forbidden by policy' };
  };
}

/** Matching with a large expression may take a tenth of a second, and replicas have the same role. */
function createKiamMatcher(strict: boolean): (expression: string, role: string) => boolean {
  const matchers = new Map<string, (role: string) => boolean>();
  const results = new Map<string, boolean>();
  return (expression, role) => {
    const key = JSON.stringify([expression, role]);
    const matcher = matchers.get(expression) ?? compileAsKiam(expression, strict) ?? (() => false);
    matchers.set(expression, matcher);
    const result = results.get(key) ?? matcher(role);
    results.set(key, result);
    return result;
  };
}

/** This server with agents that are held to their nodes, as the manifests have it. */
export function createHere(cluster: Cluster) {
  const { pods, baseArn = '' } = cluster;
  const expressionOf = createExpressions(cluster);
  const owners = pods.filter(ownsItsAddress);
  const holders = Map.groupBy(owners, ({ addresses: [first = ''], nodeName }) => `${nodeName} ${first}`);
  return (pod: PodRecord, namespace: NamespaceRecord | undefined): OurAnswer => {
    const [address = ''] = pod.addresses;
    const refuse = (reason: string, fix: string): OurAnswer => ({ served: false, reason, fix });
    if (pod.hostNetwork) {
      const fix = 'give its nodes’ role what it needs, or take hostNetwork away';
      return refuse('it has hostNetwork, and so the address of its node', fix);
    }
    if (pod.mirror) {
      const advice = 'run it by a DaemonSet or a Deployment instead of from a file of the node';
      return refuse('it is a mirror pod, which any kubelet can make', advice);
    }
    if (address !== '' && (holders.get(`${pod.nodeName} ${address}`)?.length ?? 0) > 1) {
      return refuse('multiple running pods found', 'delete the pod that does not run any more');
    }
    if (pod.role === '') {
      const advice = `annotate the ServiceAccount ${pod.serviceAccount} with ${ROLE_ANNOTATION}=${pod.annotated.role}`;
      return refuse('with --binding=serviceaccount its own annotation does not count', advice);
    }
    const expression = expressionOf(namespace);
    const decision = decide({ pod, requestedRole: pod.role, namespace, expression, baseArn });
    return decision.allowed
      ? { served: true }
      : refuse(decision.explanation, expression.ok ? WIDEN : expressionAdvice(expression.text, expression.reason));
  };
}

const WIDEN = `widen ${PERMITTED_ANNOTATION} of its namespace until it matches the whole ARN, before the servers are replaced`;

/** Differences in a namespace's expression that no present pod shows. */
function compareNamespace({ name, permitted }: NamespaceRecord, strict: boolean, version: KiamVersion): Observation[] {
  if (permitted === '') return [];
  const shown = shortened(permitted, 100);
  const expression = compileExpression(permitted, strict);
  if (!expression.ok && compileAsKiam(permitted, strict && version === 4) !== undefined) {
    const says = `${name}: Kiam takes '${shown}', which is refused here: ${expression.reason}`;
    return [wrong(says, expressionAdvice(permitted, expression.reason))];
  }
  if (version === 3 && expression.ok) return compareSearch(name, permitted, shown);
  if (!expression.ok || !strict || !hasTopLevelAlternatives(permitted)) return [];
  const says = `${name}: '${shown}' permits less here than in Kiam, which matches its alternatives only at the beginning or at the end; no pod needs that now`;
  return [cannotTell(says, `(?:${shown}) means the same to both; roles beyond that must be named`)];
}

/** Kiam 3 looked for it in the role as annotated, which begins with no `arn:` where it is short. */
function compareSearch(name: string, permitted: string, shown: string): Observation[] {
  if (/^\^?(?:\.\*|arn:)/.test(permitted)) return [];
  const says = `${name}: Kiam 3 looks for '${shown}' in the role as annotated; here it must match the whole ARN, which it does not; no pod of today needs it`;
  return [cannotTell(says, `begin it with arn: or .*, as in arn:aws:iam::ACCOUNT:role/${shown.replace(/^\^/, '')}`)];
}
