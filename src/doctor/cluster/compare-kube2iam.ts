import { createExpressions, kube2iamRoleArn } from '#domain/allowed-roles.ts';
import { roleArnProblem } from '#domain/iam-grammar.ts';
import type { PodRecord } from '#domain/pod.ts';

import { type Observation, cannotTell, ok, wrong } from '../finding.ts';
import { type Cluster, livePods } from './cluster.ts';
import { createHere } from './compare-kiam.ts';

/** What kube2iam's own flags say. */
export interface Kube2iamSettings {
  /** `--default-role`; `''` for none. */
  readonly defaultRole: string;
  /** `--namespace-restrictions` */
  readonly isRestricted: boolean;
}

/**
 * Every pod that kube2iam answers otherwise than servers with `--namespace-policy=kube2iam`, from what the cluster holds now:
 * namespaces are given with their lists. A pod that loses its role, or gets another, is an error; one that gains it is
 * reported.
 */
export function compareWithKube2iam(cluster: Cluster, settings: Kube2iamSettings): Observation[] {
  const { baseArn } = cluster;
  if (baseArn === undefined) return [cannotTell('the ARNs of short roles are not known', 'give --role-base-arn')];
  const namespaces = new Map(cluster.namespaces.map((namespace) => [namespace.name, namespace]));
  const kube2iam = createKube2iam(cluster, baseArn, settings);
  const here = createHere(cluster);
  const pods = livePods(cluster);
  const observations = pods.flatMap((pod) => {
    const where = `${pod.namespace}/${pod.name}`;
    const theirs = kube2iam(pod);
    const ours = here(pod, namespaces.get(pod.namespace));
    if (theirs !== undefined && pod.role === '') {
      const fix = `annotate its ServiceAccount ${pod.serviceAccount} with iam.amazonaws.com/role`;
      return [wrong(`${where}: kube2iam gives it the default role ${theirs}; here it has none`, fix)];
    }
    if (theirs !== undefined && !ours.served) {
      return [wrong(`${where}: kube2iam gives it ${theirs}; here it is refused: ${ours.reason}`, ours.fix)];
    }
    if (theirs === undefined && pod.role !== '' && ours.served) {
      return [ok(`${where}: kube2iam refuses it ${pod.role}; here it is served`)];
    }
    return [];
  });
  return observations.length > 0 ? observations : [ok(`all pods, ${pods.length}, are answered as by kube2iam`)];
}

/** The role that kube2iam gives a pod; undefined for none. An empty annotation and none look the same here. */
function createKube2iam(
  cluster: Cluster,
  baseArn: string,
  { defaultRole, isRestricted }: Kube2iamSettings,
): (pod: PodRecord) => string | undefined {
  const defaultArn = kube2iamRoleArn(defaultRole, baseArn);
  const expressionOf = createExpressions(cluster);
  const lists = new Map(cluster.namespaces.filter(({ isList }) => isList).map((one) => [one.name, expressionOf(one)]));
  const holders = Map.groupBy(livePods(cluster), ({ nodeName, addresses: [first = ''] }) => `${nodeName} ${first}`);
  return (pod) => {
    const [address = ''] = pod.addresses;
    if (address !== '' && (holders.get(`${pod.nodeName} ${address}`)?.length ?? 0) > 1) return undefined;
    const annotated = pod.annotated.role;
    const roleArn = annotated === '' ? defaultArn : kube2iamRoleArn(annotated, baseArn);
    if (roleArnProblem(roleArn) !== undefined) return undefined;
    const list = lists.get(pod.namespace);
    const isAllowed = !isRestricted || roleArn === defaultArn || (list?.ok === true && list.matches(roleArn));
    return isAllowed ? roleArn : undefined;
  };
}
