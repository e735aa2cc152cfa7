import type { ClusterToLeave } from '#export/classify.ts';
import type { Destination, PodPlan } from '#export/plan.ts';
import type { ServiceAccountRecord } from '#domain/service-account.ts';
import type { WorkloadPod } from '#domain/workload.ts';

export const ARN = 'arn:aws:iam::123456789012:role/';
export const FOREIGN = 'arn:aws:iam::999999999999:role/';

export const POD_IDENTITY: Destination = {
  to: 'pod-identity',
  clusterName: 'production',
  region: 'eu-west-1',
  account: '123456789012',
  partition: 'aws',
  oidcIssuer: '',
  intermediateRole: '',
};

export const IRSA: Destination = {
  ...POD_IDENTITY,
  to: 'irsa',
  oidcIssuer: 'https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF',
};

export function workloadPod(fields: Partial<WorkloadPod> & { name: string }): WorkloadPod {
  const { role = '', sessionName = '', externalId = '' } = fields;
  return {
    uid: fields.name,
    namespace: 'team',
    addresses: [],
    nodeName: 'node',
    hostIps: [],
    phase: 'Running',
    hostNetwork: false,
    mirror: false,
    terminating: false,
    resourceVersion: '1',
    serviceAccount: 'default',
    serviceAccountUid: '',
    role,
    roleSource: 'pod',
    sessionName,
    externalId,
    annotated: { role, sessionName, externalId, sessionTags: [], ignoredTag: '' },
    sessionTags: [],
    asksBy: 'instance metadata',
    owner: '',
    fargate: false,
    windows: false,
    ...fields,
  };
}

export function serviceAccount(fields: Partial<ServiceAccountRecord> & { name: string }): ServiceAccountRecord {
  return {
    uid: fields.name,
    namespace: 'team',
    resourceVersion: '1',
    role: '',
    eksRole: '',
    sessionTags: [],
    ignoredTag: '',
    ...fields,
  };
}

/** What must come of a pod: its outcome, and the kinds of its reasons, joined by commas. */
export type Expected = Readonly<Record<'pod-identity' | 'irsa', string>>;

const same = (text: string): Expected => ({ 'pod-identity': text, irsa: text });

interface Kind {
  readonly expected: readonly Expected[];
  /** The pods of one ServiceAccount, which is called `account`. */
  readonly pods: (account: string) => readonly Omit<WorkloadPod, 'serviceAccount'>[];
  readonly account?: Partial<ServiceAccountRecord>;
}

const one =
  (fields: Partial<WorkloadPod>): Kind['pods'] =>
  (account) => [workloadPod({ name: `${account}-0`, role: 'reader', ...fields })];

const two =
  (first: Partial<WorkloadPod>, second: Partial<WorkloadPod>): Kind['pods'] =>
  (account) => [
    workloadPod({ name: `${account}-0`, role: 'reader', ...first }),
    workloadPod({ name: `${account}-1`, role: 'reader', ...second }),
  ];

/** Every way in which the pods of a ServiceAccount may be, and what follows. */
const KINDS: readonly Kind[] = [
  { pods: one({ owner: 'deployment/web' }), expected: [same('moves')] },
  { pods: two({}, { role: `${ARN}reader` }), expected: [same('moves'), same('moves')] },
  { pods: two({}, { role: 'writer' }), expected: [same('by-hand two-roles'), same('by-hand two-roles')] },
  { pods: two({}, { role: '' }), expected: [same('by-hand shared-service-account')] },
  { pods: two({}, { role: '', phase: 'Succeeded' }), expected: [same('moves')] },
  {
    pods: two({}, { externalId: 'x-1' }),
    expected: [same('by-hand shared-service-account'), same('cannot external-id')],
  },
  { pods: one({ sessionName: 'mine' }), expected: [same('cannot session-name')] },
  { pods: one({}), account: { ignoredTag: 'team' }, expected: [same('cannot session-tags')] },
  { pods: one({ hostNetwork: true }), expected: [same('moves')] },
  { pods: one({ fargate: true }), expected: [{ 'pod-identity': 'cannot fargate', irsa: 'moves' }] },
  { pods: one({ windows: true }), expected: [{ 'pod-identity': 'cannot windows', irsa: 'moves' }] },
  { pods: one({ mirror: true }), expected: [same('cannot static-pod')] },
  { pods: one({ role: `${FOREIGN}reader` }), expected: [{ 'pod-identity': 'cannot other-account', irsa: 'moves' }] },
  { pods: one({ role: 'forbidden' }), expected: [same('cannot refused')] },
  {
    pods: one({ role: 'arn:aws:s3:::bucket' }),
    expected: [{ 'pod-identity': 'cannot refused', irsa: 'cannot refused' }],
  },
  { pods: one({ asksBy: 'web identity' }), expected: [same('cannot web-identity')] },
  {
    pods: one({ asksBy: 'web identity' }),
    account: { eksRole: `${ARN}reader` },
    expected: [{ 'pod-identity': 'cannot web-identity', irsa: 'moves' }],
  },
  {
    pods: one({}),
    account: { eksRole: `${ARN}other` },
    expected: [{ 'pod-identity': 'moves', irsa: 'cannot web-identity' }],
  },
];

export interface LeavingCluster {
  readonly cluster: ClusterToLeave;
  /** By `namespace/name`. */
  readonly expected: ReadonlyMap<string, Expected>;
}

/** A cluster of `size` pods in ten namespaces, every kind in turn. */
export function leavingCluster(size: number): LeavingCluster {
  const pods: WorkloadPod[] = [];
  const serviceAccounts: ServiceAccountRecord[] = [];
  const expected = new Map<string, Expected>();
  const namespaces = Array.from({ length: 10 }, (_, index) => ({
    name: `team-${index}`,
    permitted: 'arn:aws:iam::\\d+:role/(reader|writer)',
  }));
  for (let turn = 0; pods.length < size; turn += 1) {
    const kind = KINDS[turn % KINDS.length];
    if (kind === undefined) break;
    const namespace = `team-${turn % 10}`;
    const account = `app-${turn}`;
    const members = kind.pods(account).map((pod) => ({ ...pod, uid: pod.name, namespace, serviceAccount: account }));
    pods.push(...members);
    members
      .filter(({ role }) => role !== '')
      .forEach(({ name }, index) => {
        const of = kind.expected[index];
        if (of !== undefined) expected.set(`${namespace}/${name}`, of);
      });
    serviceAccounts.push(serviceAccount({ ...kind.account, name: account, namespace }));
  }
  return { cluster: { pods, namespaces, serviceAccounts, baseArn: ARN, strict: true, listFormat: 'glob' }, expected };
}

export function outcomeOf({ outcome, reasons }: PodPlan): string {
  return [outcome, reasons.map(({ kind }) => kind).join(',')].join(' ').trimEnd();
}
