import type { Check } from '#doctor/check.ts';
import { checkAdmission } from '#doctor/cluster/admission.ts';
import { checkAccess, reportAccess } from '#doctor/cluster/access.ts';
import type { Cluster } from '#doctor/cluster/cluster.ts';
import { compareWithKiam } from '#doctor/cluster/compare-kiam.ts';
import { compareWithKube2iam } from '#doctor/cluster/compare-kube2iam.ts';
import { checkNamespaces } from '#doctor/cluster/namespaces.ts';
import { checkPods } from '#doctor/cluster/pods.ts';
import { checkWays } from '#doctor/cluster/ways.ts';
import { checkServiceAccounts } from '#doctor/cluster/service-accounts.ts';
import { type Observation, cannotTell, wrong } from '#doctor/finding.ts';
import { createConnection, type KubernetesConnection } from '#kubernetes/connection.ts';
import { listReader, type parseNamespaceWithList } from '#kubernetes/namespace-record.ts';
import { readCluster } from '#kubernetes/read-cluster.ts';
import { systemClock } from '#runtime/clock.ts';

import { describeError } from '#runtime/errors.ts';

import type { DoctorLine } from '../flags/command-line.ts';
import { sessionRules } from '../flags/sessions.ts';
import { report } from './report.ts';

/** `kiam doctor --kubeconfig=…`: checks pods and namespaces, from any machine that can reach the API server. */
export async function runDoctorCluster({ flags }: Extract<DoctorLine, { kind: 'cluster' }>): Promise<void> {
  const { connection, check } = connect(flags.kubeconfig);
  if (connection === undefined) return report([check], flags);
  const access: Check = {
    name: 'access',
    look: (signal) => checkAccess(connection, reportAccess(flags.binding), signal),
  };
  const known = {
    baseArn: flags.roleBaseArn,
    strict: !flags.disableStrictNamespaceRegexp,
    listFormat: flags.namespaceRestrictionFormat,
    binding: flags.binding,
    allowedTags: flags.allowedSessionTags,
    sessions: sessionRules(flags),
    containerCredentials: undefined,
  };
  const cluster = readOnce(
    connection,
    () => known,
    listReader(flags.compareKube2iam ? 'kube2iam' : flags.namespacePolicy),
  );
  const admission: Check = {
    name: 'admission',
    look: (signal) => checkAdmission(connection, { ...known, signal }),
  };
  const { compareKiam: version } = flags;
  const kube2iam = {
    defaultRole: flags.defaultRole,
    isRestricted: flags.namespaceRestrictions,
  };
  const checks = flags.compareKube2iam
    ? [clusterCheck('kube2iam', cluster, (contents) => compareWithKube2iam(contents, kube2iam))]
    : version
      ? [clusterCheck('kiam', cluster, (contents) => compareWithKiam(contents, version))]
      : [
          clusterCheck('pods', cluster, checkPods),
          clusterCheck('ways', cluster, checkWays),
          clusterCheck('namespaces', cluster, checkNamespaces),
          clusterCheck('service accounts', cluster, checkServiceAccounts),
          admission,
          ELSEWHERE,
        ];
  return report([check, access, ...checks], flags);
}

const ELSEWHERE: Check = {
  name: 'elsewhere',
  look: () => [
    cannotTell(
      'certificates, AWS and the nodes cannot be seen from here',
      'kubectl -n kube-system exec ds/kiam-server -- /kiam doctor, and the same with ds/kiam-agent',
    ),
  ],
};

/** A client of the API server, or the check that says why there is none. */
export function connect(kubeconfig: string): {
  readonly connection: KubernetesConnection | undefined;
  readonly check: Check;
} {
  try {
    const connection = createConnection({ kubeconfig, clock: systemClock, environment: process.env });
    return { connection, check: { name: 'kubernetes', look: () => [] } };
  } catch (error) {
    const says = `the API server cannot be asked: ${describeError(error)}`;
    const fix = 'give --kubeconfig a file whose current context names this cluster';
    return { connection: undefined, check: { name: 'kubernetes', look: () => [wrong(says, fix)] } };
  }
}

/** Reads the cluster at the first call. If it cannot be read, the reason is reported once. */
export type ReadOnce = (signal: AbortSignal) => Promise<Cluster | string>;

export function readOnce(
  connection: KubernetesConnection,
  known: () => Omit<Cluster, 'pods' | 'namespaces' | 'serviceAccounts'>,
  parseNamespace?: typeof parseNamespaceWithList,
): ReadOnce {
  let reading: ReturnType<typeof readCluster> | undefined;
  return async (signal) => {
    reading ??= readCluster(connection, known(), signal, parseNamespace);
    const outcome = await reading;
    return outcome.ok ? { ...outcome.contents, ...known() } : outcome.reason;
  };
}

/** Lists of ten thousand pods take seconds. */
const CLUSTER_LIMIT_MS = 120_000;

export function clusterCheck(name: string, read: ReadOnce, judge: (cluster: Cluster) => readonly Observation[]): Check {
  return {
    name,
    limitMs: CLUSTER_LIMIT_MS,
    look: async (signal) => {
      const cluster = await read(signal);
      return typeof cluster === 'string' ? [cannotTell(cluster, 'see the line `access`')] : judge(cluster);
    },
  };
}
