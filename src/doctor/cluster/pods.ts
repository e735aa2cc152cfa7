import { externalIdProblem, sessionTagsProblem } from '#domain/iam-grammar.ts';
import {
  EXTERNAL_ID_ANNOTATION,
  ownsItsAddress,
  type PodRecord,
  ROLE_ANNOTATION,
  SESSION_NAME_ANNOTATION,
} from '#domain/pod.ts';
import { resolveRole } from '#domain/role.ts';
import { SESSION_TAG_PREFIX } from '#domain/service-account.ts';
import { SESSION_NAME_RULE, stsSessionName } from '#domain/session-name.ts';
import { shortened } from '#runtime/text.ts';

import { type Observation, cannotTell, ok, wrong } from '../finding.ts';
import { type Cluster, namesOf, podsWithRole } from './cluster.ts';

interface Problem {
  readonly says: string;
  readonly fix: string;
}

/**
 * Pods that can get nothing, whatever their namespace permits: their annotations are invalid for AWS, or their address is not
 * theirs alone.
 */
export function checkPods(cluster: Cluster): Observation[] {
  const pods = podsWithRole(cluster);
  const observations = [
    ...group(pods, (pod) => problemOf(pod, cluster.baseArn)),
    ...group(pods, createAddressJudge(cluster.pods)),
  ];
  const works = ok(`the annotations of all pods with a role, ${pods.length}, can work`);
  return [
    ...(observations.length > 0 ? observations : [works]),
    ...(cluster.sessions.nameTemplate === undefined ? changedSessionNames(pods) : []),
    ...repeatedRole(pods),
    ...ignoredTags(pods),
  ];
}

/** One observation for all pods of a namespace that have the same problem. */
function group(pods: readonly PodRecord[], judge: (pod: PodRecord) => Problem | undefined): Observation[] {
  const groups = new Map<string, { readonly problem: Problem; readonly pods: PodRecord[] }>();
  for (const pod of pods) {
    const problem = judge(pod);
    if (problem === undefined) continue;
    const key = JSON.stringify([pod.namespace, problem]);
    const known = groups.get(key) ?? { problem, pods: [] };
    known.pods.push(pod);
    groups.set(key, known);
  }
  return [...groups.values()].map(({ problem, pods: alike }) =>
    wrong(`${alike[0]?.namespace ?? ''}/${namesOf(alike)}: ${problem.says}`, problem.fix),
  );
}

/** Kiam changes a session name until AWS accepts it: who looks for the annotated one in CloudTrail does not find it. */
function changedSessionNames(pods: readonly PodRecord[]): Observation[] {
  const changed = pods.filter(({ sessionName: name }) => name !== '' && stsSessionName(name) !== `kiam-${name}`);
  return [...Map.groupBy(changed, (pod) => JSON.stringify([pod.namespace, pod.sessionName])).values()].map((alike) => {
    const [{ namespace, sessionName } = { namespace: '', sessionName: '' }] = alike;
    const annotated = JSON.stringify(shortened(sessionName, 100));
    return ok(
      `${namespace}/${namesOf(alike)}: ${SESSION_NAME_ANNOTATION} is ${annotated}, and AWS is given ${stsSessionName(sessionName)}: ${SESSION_NAME_RULE}`,
    );
  });
}

/** `role/NAME` is the end of an ARN, and as a short name it means a role with the path `/role/`, which hardly anybody has. */
function repeatedRole(pods: readonly PodRecord[]): Observation[] {
  const repeated = pods.filter(({ role }) => /^\/?role\//.test(role));
  return [...Map.groupBy(repeated, (pod) => JSON.stringify([pod.namespace, pod.role])).values()].map((alike) => {
    const [{ namespace, role } = { namespace: '', role: '' }] = alike;
    return cannotTell(
      `${namespace}/${namesOf(alike)}: ${ROLE_ANNOTATION} is ${role}, which means a role with the path /role/`,
      `where the role has no such path, annotate ${role.replace(/^\/?role\//, '')}`,
    );
  });
}

/** Tags that a pod means to set and does not. */
function ignoredTags(pods: readonly PodRecord[]): Observation[] {
  const ignored = pods.filter(({ annotated }) => annotated.ignoredTag !== '');
  const groups = Map.groupBy(ignored, (pod) => JSON.stringify([pod.namespace, pod.annotated.ignoredTag]));
  return [...groups.values()].map((alike) => {
    const [first] = alike;
    const key = first?.annotated.ignoredTag ?? '';
    return cannotTell(
      `${first?.namespace ?? ''}/${namesOf(alike)}: ${SESSION_TAG_PREFIX}${key} does not count`,
      'list its key in --allowed-session-tags of the servers, or remove the annotation',
    );
  });
}

function problemOf(pod: PodRecord, baseArn = 'arn:aws:iam::000000000000:role/'): Problem | undefined {
  if (pod.hostNetwork && pod.asksBy !== 'container credentials') {
    return {
      says: `has hostNetwork and the role ${pod.role}: it shares the node’s address, and gets nothing but by its token, with --container-credentials`,
      fix: `give it the variables of container credentials, or take hostNetwork or the annotation ${ROLE_ANNOTATION} away; with hostNetwork it has the role of its node`,
    };
  }
  if (pod.mirror) {
    return {
      says: `is a mirror pod with the role ${pod.role}: any kubelet can make one, and so it gets nothing`,
      fix: 'run it by a DaemonSet or a Deployment instead of from a file of the node',
    };
  }
  const resolution = resolveRole(pod.role, baseArn);
  if (!resolution.ok) {
    const fix = `${ROLE_ANNOTATION} takes a name, path/name, or arn:aws:iam::ACCOUNT:role/NAME; names have letters, digits and +=,.@_-, accounts 12 digits`;
    return { says: `its role is not valid: ${JSON.stringify(resolution.reason)}`, fix };
  }
  const tagProblem = sessionTagsProblem(pod.sessionTags ?? []);
  if (tagProblem !== undefined) {
    const fix = `correct it where it is annotated (${SESSION_TAG_PREFIX}KEY), on the pod or its ServiceAccount`;
    return { says: `${tagProblem}, and so it gets nothing`, fix };
  }
  const problem = externalIdProblem(pod.externalId);
  if (problem !== undefined) {
    return {
      says: 'its external id is not valid, and so it gets nothing',
      fix: `${EXTERNAL_ID_ANNOTATION}: ${problem}`,
    };
  }
  return undefined;
}

/** Two live pods with one address on one node cannot be told apart; on two nodes each agent knows its own. */
function createAddressJudge(all: readonly PodRecord[]): (pod: PodRecord) => Problem | undefined {
  const holders = new Map<string, PodRecord[]>();
  for (const pod of all.filter(ownsItsAddress)) {
    for (const address of pod.addresses) holders.set(address, [...(holders.get(address) ?? []), pod]);
  }
  return (pod) => {
    if (!ownsItsAddress(pod)) return undefined;
    const shared = pod.addresses.find((address) => (holders.get(address)?.length ?? 0) > 1);
    const other = holders.get(shared ?? '')?.find((holder) => holder !== pod && holder.nodeName === pod.nodeName);
    if (shared === undefined || other === undefined) return undefined;
    const fix = 'delete the one that does not run any more: usually its node has died with it';
    return { says: `has the address ${shared}, and so has ${other.namespace}/${other.name}: neither is served`, fix };
  };
}
