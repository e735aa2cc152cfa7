import type { PodRecord } from '#domain/pod.ts';

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
    role: 'reader',
    sessionName: '',
    externalId: '',
    ...fields,
  };
}
