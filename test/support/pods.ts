import type { PodRecord } from '#domain/pod.ts';
import type { ServiceAccountRecord } from '#domain/service-account.ts';

/** A running pod with a role, but for what a test says about it. */
export function podRecord(fields: Partial<PodRecord> = {}): PodRecord {
  return {
    uid: 'uid-1',
    namespace: 'default',
    name: 'pod-1',
    addresses: ['192.0.2.1'],
    nodeName: 'node-1',
    hostIps: ['198.51.100.1'],
    phase: 'Running',
    hostNetwork: false,
    mirror: false,
    terminating: false,
    resourceVersion: '1',
    serviceAccount: 'default',
    serviceAccountUid: 'uid-of-account',
    role: 'reader',
    roleSource: 'pod',
    sessionName: '',
    externalId: '',
    sessionTags: [],
    annotated: {
      role: fields.role ?? 'reader',
      sessionName: fields.sessionName ?? '',
      externalId: fields.externalId ?? '',
      sessionTags: fields.sessionTags ?? [],
      ignoredTag: '',
    },
    asksBy: 'instance metadata',
    ...fields,
  };
}

/** The ServiceAccount `default` of the namespace `default`, without a role, but for what a test says about it. */
export function serviceAccountRecord(fields: Partial<ServiceAccountRecord> = {}): ServiceAccountRecord {
  return {
    uid: 'uid-of-account',
    namespace: 'default',
    name: 'default',
    resourceVersion: '1',
    role: '',
    eksRole: '',
    sessionTags: [],
    ignoredTag: '',
    ...fields,
  };
}
