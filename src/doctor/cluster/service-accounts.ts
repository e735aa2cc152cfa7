import { ROLE_ANNOTATION, type PodRecord } from '#domain/pod.ts';
import { resolveRole } from '#domain/role.ts';
import {
  EKS_ROLE_ANNOTATION,
  roleOfAccount,
  SESSION_TAG_PREFIX,
  type ServiceAccountRecord,
} from '#domain/service-account.ts';

import { type Observation, cannotTell, ok, wrong } from '../finding.ts';
import { type Cluster, livePods, namesOf, podsWithRole } from './cluster.ts';

/** Roles that are given in two places and differ, or in a way that does not count, and what makes SDKs pass us by. */
export function checkServiceAccounts(cluster: Cluster): Observation[] {
  const accounts = new Map(cluster.serviceAccounts.map((account) => [nameOf(account), account]));
  const observations = [
    ...cluster.serviceAccounts.flatMap((account) => ofAccount(account, cluster.baseArn)),
    ...[...Map.groupBy(livePods(cluster), accountNameOf)].flatMap(([name, pods]) =>
      ofPods(pods, accounts.get(name), cluster),
    ),
    ...byWebIdentity(podsWithRole(cluster)),
  ];
  if (observations.length > 0) return observations;
  if (cluster.binding === 'pod') return [ok('with --binding=pod no ServiceAccount gives a role')];
  const giving = cluster.serviceAccounts.filter((account) => roleOfAccount(account) !== '').length;
  return [ok(`${giving} ServiceAccounts give roles, and none contradicts its pods`)];
}

/** The two annotations of one ServiceAccount. */
function ofAccount(account: ServiceAccountRecord, baseArn: string | undefined): Observation[] {
  const { role, eksRole } = account;
  const name = `the ServiceAccount ${nameOf(account)}`;
  if (account.ignoredTag !== '') {
    const says = `${name}: ${SESSION_TAG_PREFIX}${account.ignoredTag} does not count`;
    return [cannotTell(says, 'list its key in --allowed-session-tags of the servers, or remove the annotation')];
  }
  if (eksRole !== '' && !eksRole.startsWith('arn:')) {
    const says = `${name}: ${EKS_ROLE_ANNOTATION} is ${JSON.stringify(eksRole)}, which is no ARN and does not count`;
    return [wrong(says, `write the ARN, or the short name in ${ROLE_ANNOTATION}`)];
  }
  if (role === '' || eksRole === '' || areSame(role, eksRole, baseArn)) return [];
  const says = `${name} has two roles: ${ROLE_ANNOTATION} says ${role}, which counts here, and ${EKS_ROLE_ANNOTATION} says ${eksRole}`;
  return [cannotTell(says, 'remove one, unless web identity (IRSA) is meant to give another role than the metadata')];
}

/** The pods of one ServiceAccount whose own annotation says something else. */
function ofPods(
  pods: readonly PodRecord[],
  account: ServiceAccountRecord | undefined,
  { binding, baseArn }: Cluster,
): Observation[] {
  const given = account === undefined ? '' : roleOfAccount(account);
  const annotated = pods.filter(({ annotated: { role } }) => role !== '');
  if (binding === 'pod') return [];
  return [...Map.groupBy(annotated, (pod) => pod.annotated.role)].flatMap(([role, alike]) => {
    const [{ namespace, serviceAccount } = { namespace: '', serviceAccount: '' }] = alike;
    const who = `${namespace}/${namesOf(alike)}: annotated with ${role}`;
    if (binding === 'serviceaccount' && given === '') {
      const says = `${who}, which does not count with --binding=serviceaccount, and the ServiceAccount ${namespace}/${serviceAccount} gives no role`;
      return [
        wrong(says, `kubectl -n ${namespace} annotate serviceaccount ${serviceAccount} ${ROLE_ANNOTATION}=${role}`),
      ];
    }
    if (given === '' || areSame(role, given, baseArn)) return [];
    const counts = binding === 'both' ? "the pod's" : "the ServiceAccount's";
    const says = `${who}, while the ServiceAccount ${namespace}/${serviceAccount} gives ${given}: ${counts} counts`;
    return [cannotTell(says, 'remove the one that is not meant')];
  });
}

/** SDKs look for web identity before they ask for instance metadata. */
function byWebIdentity(pods: readonly PodRecord[]): Observation[] {
  const passing = pods.filter(({ asksBy }) => asksBy === 'web identity');
  return [...Map.groupBy(passing, accountNameOf)].map(([name, alike]) =>
    cannotTell(
      `${alike[0]?.namespace ?? ''}/${namesOf(alike)}: a container has AWS_WEB_IDENTITY_TOKEN_FILE, which SDKs prefer to the role from here`,
      `a webhook of EKS sets it for the ServiceAccount ${name}: use one of the two, or put ${ROLE_ANNOTATION} in place of ${EKS_ROLE_ANNOTATION}`,
    ),
  );
}

function areSame(left: string, right: string, baseArn = 'arn:aws:iam::000000000000:role/'): boolean {
  const [one, other] = [resolveRole(left, baseArn), resolveRole(right, baseArn)];
  return one.ok && other.ok ? one.role.arn === other.role.arn : left === right;
}

function nameOf({ namespace, name }: ServiceAccountRecord): string {
  return `${namespace}/${name}`;
}

function accountNameOf({ namespace, serviceAccount }: PodRecord): string {
  return `${namespace}/${serviceAccount}`;
}
