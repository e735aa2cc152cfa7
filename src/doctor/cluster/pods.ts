import { EXTERNAL_ID_ANNOTATION, ownsItsAddress, type PodRecord, ROLE_ANNOTATION } from '#domain/pod.ts';
import { resolveRole } from '#domain/role.ts';

import { type Observation, ok, wrong } from '../finding.ts';
import { type Cluster, namesOf, podsWithRole } from './cluster.ts';

interface Problem {
  readonly says: string;
  readonly mend: string;
}

/** Pods that can get nothing whatever their namespace permits: annotations that AWS does not take, and addresses that are not theirs alone. */
export function checkPods(cluster: Cluster): Observation[] {
  const pods = podsWithRole(cluster);
  const observations = [
    ...group(pods, (pod) => problemOf(pod, cluster.baseArn)),
    ...group(pods, createAddressJudge(cluster.pods)),
  ];
  if (observations.length > 0) return observations;
  return [ok(`the annotations of all pods with a role, ${pods.length}, can work`)];
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
    wrong(`${alike[0]?.namespace ?? ''}/${namesOf(alike)}: ${problem.says}`, problem.mend),
  );
}

function problemOf(pod: PodRecord, baseArn = 'arn:aws:iam::000000000000:role/'): Problem | undefined {
  if (pod.hostNetwork) {
    return {
      says: `has hostNetwork and the role ${pod.role}: it shares the node’s address, and so gets nothing`,
      mend: `take hostNetwork or the annotation ${ROLE_ANNOTATION} away; with hostNetwork it has the role of its node`,
    };
  }
  const resolution = resolveRole(pod.role, baseArn);
  if (!resolution.ok) {
    const mend = `${ROLE_ANNOTATION} takes a name, path/name, or arn:aws:iam::ACCOUNT:role/NAME`;
    return { says: `its role cannot work: ${shorten(resolution.reason)}`, mend };
  }
  if (!ROLE_OF_IAM.test(resolution.role.arn)) {
    const mend = 'role names have letters, digits and +=,.@_- (64 at most), paths no blanks, accounts 12 digits';
    return { says: `its role cannot exist: ${JSON.stringify(shorten(resolution.role.arn))}`, mend };
  }
  if (pod.externalId !== '' && !EXTERNAL_ID.test(pod.externalId)) {
    const mend = `${EXTERNAL_ID_ANNOTATION} has 2 to 1224 letters, digits and +=,.@:/_-`;
    return { says: 'STS does not take its external id', mend };
  }
  return undefined;
}

/** https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html: RoleName and Path. */
const ROLE_OF_IAM = /^arn:aws[a-z-]*:iam::\d{12}:role\/(?:[\x21-\x7e]*\/)?[\w+=,.@-]{1,64}$/;

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html */
const EXTERNAL_ID = /^[\w+=,.@:/-]{2,1224}$/;

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
    const mend = 'delete the one that does not run any more: usually its node has died with it';
    return { says: `has the address ${shared}, and so has ${other.namespace}/${other.name}: neither is served`, mend };
  };
}

function shorten(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
