import { createHash } from 'node:crypto';

import { createExpressions, type PermittedRules } from '#domain/allowed-roles.ts';
import type { NamespaceRecord } from '#domain/namespace.ts';
import { decide } from '#domain/policy.ts';
import { resolveRole } from '#domain/role.ts';
import type { ServiceAccountRecord } from '#domain/service-account.ts';
import type { WorkloadPod } from '#domain/workload.ts';

import type { AccountPlan, Classification, Destination, PodPlan, Reason } from './plan.ts';
import { notesOf, reasonsOf } from './reasons.ts';

/** What is known of the cluster, and the servers' flags that decide. */
export interface ClusterToLeave extends PermittedRules {
  readonly pods: readonly WorkloadPod[];
  readonly namespaces: readonly NamespaceRecord[];
  readonly serviceAccounts: readonly ServiceAccountRecord[];
  readonly baseArn: string;
}

interface Judged {
  readonly pod: WorkloadPod;
  readonly roleArn: string;
  readonly reasons: readonly Reason[];
}

/**
 * Decides for every pod with a role whether it can move, and which ServiceAccounts get which role. The new ways know
 * ServiceAccounts and no pods: one is given a role only if all of its pods have that role and can move, so that none gets more
 * than it has. Others get a ServiceAccount that is to be made.
 */
export function classify(cluster: ClusterToLeave, destination: Destination): Classification {
  const accountOf = new Map(
    cluster.serviceAccounts.map((account) => [keyOf(account.namespace, account.name), account]),
  );
  const refusalOf = createJudge(cluster);
  const withRole = cluster.pods.filter(({ role }) => role !== '');
  const judged = withRole.map((pod): Judged => {
    const resolution = resolveRole(pod.role, cluster.baseArn);
    const roleArn = resolution.ok ? resolution.role.arn : '';
    const account = accountOf.get(keyOf(pod.namespace, pod.serviceAccount));
    return { pod, roleArn, reasons: [...refusalOf(pod), ...reasonsOf(pod, roleArn, account, destination)] };
  });
  const plain = Map.groupBy(
    cluster.pods.filter((pod) => pod.role === '' && isLive(pod)),
    accountKey,
  );
  const taken = Map.groupBy(cluster.pods, accountKey);
  const pods: PodPlan[] = [];
  const accounts = new Map<string, AccountPlan>();
  for (const [key, members] of Map.groupBy(judged, ({ pod }) => accountKey(pod))) {
    const obstacle = obstacleOf(members, plain.get(key) ?? []);
    for (const { pod, roleArn, reasons } of members) {
      if (reasons.length > 0) {
        pods.push({ pod, roleArn, outcome: 'cannot', serviceAccount: '', reasons, notes: [] });
        continue;
      }
      const isNew = obstacle !== undefined;
      const name = isNew ? newName(pod, roleArn, taken) : pod.serviceAccount;
      const fix = `set serviceAccountName: ${name} in its workload`;
      pods.push({
        pod,
        roleArn,
        outcome: isNew ? 'by-hand' : 'moves',
        serviceAccount: name,
        reasons: isNew ? [{ ...obstacle, fix }] : [],
        notes: notesOf(pod, destination.to),
      });
      const present = accounts.get(keyOf(pod.namespace, name));
      const owners = new Set([...(present?.owners ?? []), ...(pod.owner === '' ? [] : [pod.owner])]);
      const plan = { namespace: pod.namespace, name, roleArn, isNew, owners: [...owners].toSorted() };
      accounts.set(keyOf(pod.namespace, name), plan);
    }
  }
  const byName = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0);
  return {
    pods: pods.toSorted((a, b) => byName(keyOf(a.pod.namespace, a.pod.name), keyOf(b.pod.namespace, b.pod.name))),
    accounts: [...accounts.values()].toSorted((a, b) => byName(keyOf(a.namespace, a.name), keyOf(b.namespace, b.name))),
  };
}

/** What keeps the pods of one ServiceAccount from getting their role through it. */
function obstacleOf(members: readonly Judged[], plain: readonly WorkloadPod[]): Omit<Reason, 'fix'> | undefined {
  const roles = new Set(members.map(({ roleArn }) => roleArn));
  if (roles.size > 1) {
    const says = `pods of its ServiceAccount have ${roles.size} roles: ${[...roles].toSorted().join(', ')}`;
    return { kind: 'two-roles', says };
  }
  const kind = 'shared-service-account';
  const [without] = plain;
  if (without !== undefined) {
    return { kind, says: `its ServiceAccount has pods without a role, such as ${without.name}, which would get one` };
  }
  const stays = members.find(({ reasons }) => reasons.length > 0);
  return stays && { kind, says: `its ServiceAccount has pods that cannot move, such as ${stays.pod.name}` };
}

/** Whether the servers refuse it today: the new ways know no expression of a namespace, and would give it the role. */
function createJudge({ namespaces, ...rules }: ClusterToLeave): (pod: WorkloadPod) => readonly Reason[] {
  const byName = new Map(namespaces.map((namespace) => [namespace.name, namespace]));
  const expressionOf = createExpressions(rules);
  return (pod) => {
    const namespace = byName.get(pod.namespace);
    const expression = expressionOf(namespace);
    const decision = decide({ pod, requestedRole: pod.role, namespace, expression, baseArn: rules.baseArn });
    if (decision.allowed) return [];
    const fix = 'correct what kiam explain names, or remove the annotation; only who is permitted today is moved';
    return [{ kind: 'refused', says: `Kiam refuses it: ${decision.explanation}`, fix }];
  };
}

const LONGEST_NAME = 63;

/** `app-reporter` for the role `reporter` of pods of `app`; with a part of the role's hash where that is taken. */
function newName(pod: WorkloadPod, roleArn: string, taken: ReadonlyMap<string, readonly WorkloadPod[]>): string {
  const hash = createHash('sha256').update(roleArn).digest('hex').slice(0, 8);
  const role = roleArn.slice(roleArn.lastIndexOf('/') + 1).toLowerCase();
  const plain = `${pod.serviceAccount}-${role}`.replaceAll(/[^a-z0-9]+/g, '-').replace(/-$/, '');
  const isFree = plain.length <= LONGEST_NAME && !taken.has(keyOf(pod.namespace, plain));
  // A path, or letters that a ServiceAccount's name cannot have, may make two roles look alike.
  const isExact = roleArn.endsWith(`:role/${role}`) && !/[^a-z0-9-]/.test(role);
  return isFree && isExact ? plain : `${plain.slice(0, LONGEST_NAME - hash.length - 1).replace(/-$/, '')}-${hash}`;
}

function isLive({ phase }: WorkloadPod): boolean {
  return phase !== 'Succeeded' && phase !== 'Failed';
}

function accountKey({ namespace, serviceAccount }: WorkloadPod): string {
  return keyOf(namespace, serviceAccount);
}

function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}
