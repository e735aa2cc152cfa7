import { classify, type ClusterToLeave } from './classify.ts';
import type { AccountPlan, Destination, PodPlan } from './plan.ts';
import { foreignRoles, stepsBack, stepsThere, type Step } from './steps.ts';
import { LONGEST_TRUST_POLICY, type RoleTrust, trustOf } from './trust.ts';

/** The complete plan of a move. */
export interface Export {
  readonly destination: Destination;
  readonly undo: boolean;
  readonly pods: readonly PodPlan[];
  readonly accounts: readonly AccountPlan[];
  readonly trusts: readonly RoleTrust[];
  /** The intermediate role's permission; undefined where there is none. */
  readonly intermediatePolicy: unknown;
  readonly steps: readonly Step[];
  readonly notes: readonly string[];
}

/** https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html */
const MOST_ASSOCIATIONS = 5000;

/** Plans the move of a cluster's pods, or the way back. Pure: it makes no request and changes nothing. */
export function exportPlan(cluster: ClusterToLeave, destination: Destination, undo: boolean): Export {
  const { pods, accounts } = classify(cluster, destination);
  const trusts = trustOf(accounts, destination);
  const options = { destination, accounts, trusts, serviceAccounts: cluster.serviceAccounts };
  const foreign = foreignRoles(accounts, destination);
  return {
    destination,
    undo,
    pods,
    accounts,
    trusts,
    intermediatePolicy: foreign.length === 0 ? undefined : mayAssume(foreign),
    steps: undo ? stepsBack(options) : stepsThere(options),
    notes: notesOf(accounts, trusts, destination, undo),
  };
}

function mayAssume(roles: readonly string[]): unknown {
  const statement = { Effect: 'Allow', Action: ['sts:AssumeRole', 'sts:TagSession'], Resource: roles };
  return { Version: '2012-10-17', Statement: [statement] };
}

function notesOf(
  accounts: readonly AccountPlan[],
  trusts: readonly RoleTrust[],
  { to, account }: Destination,
  undo: boolean,
): readonly string[] {
  const notes = [
    'Only workloads that have a pod now are seen: add those that are scaled to zero, and CronJobs between runs.',
  ];
  if (undo) notes.push("Kiam's agents and servers must run, and pods must still have their annotations.");
  if (undo && to === 'pod-identity') {
    notes.push(
      'A pod keeps the credentials that it holds (up to 6 h) until it is made again; a container that starts in an old pod in between gets none.',
    );
  }
  const elsewhere = [...new Set(trusts.map((role) => role.account))].filter((owner) => owner !== account);
  for (const owner of elsewhere)
    notes.push(`Configure the profile account-${owner} for the AWS CLI: it changes roles of that account.`);
  if (to === 'pod-identity' && accounts.length > MOST_ASSOCIATIONS) {
    notes.push(`${accounts.length} associations are more than the ${MOST_ASSOCIATIONS} that a cluster may have.`);
  }
  for (const { roleArn, statements } of trusts) {
    const { length } = JSON.stringify(statements);
    if (length <= LONGEST_TRUST_POLICY) continue;
    notes.push(
      `${roleArn}: ${length} characters are added to its trust policy, and the quota is ${LONGEST_TRUST_POLICY} unless it is raised.`,
    );
  }
  return notes;
}
