/** A pod as the API server sends it. */
export interface PodFields {
  readonly name?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly version?: string | number;
  readonly ip?: string;
  readonly ips?: readonly string[];
  readonly phase?: string;
  readonly role?: unknown;
  readonly annotations?: unknown;
  readonly nodeName?: string;
  readonly hostIp?: string;
  readonly hostIps?: readonly string[];
  readonly hostNetwork?: boolean;
  readonly terminating?: boolean;
  readonly serviceAccount?: string;
}

export function podObject(fields: PodFields = {}): unknown {
  const { name = 'pod-1', namespace = 'default', uid = `uid-of-${name}`, version = '10', phase = 'Running' } = fields;
  const ips = fields.ips ?? (fields.ip === undefined ? [] : [fields.ip]);
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: {
      name,
      namespace,
      uid,
      resourceVersion: String(version),
      ...(fields.terminating === true ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
      annotations: fields.annotations ?? { 'iam.amazonaws.com/role': fields.role ?? 'reader' },
    },
    spec: {
      nodeName: fields.nodeName ?? 'node-1',
      ...(fields.serviceAccount === undefined ? {} : { serviceAccountName: fields.serviceAccount }),
      ...(fields.hostNetwork === undefined ? {} : { hostNetwork: fields.hostNetwork }),
    },
    status: {
      phase,
      hostIP: fields.hostIp ?? '198.51.100.1',
      ...(fields.hostIps === undefined ? {} : { hostIPs: fields.hostIps.map((ip) => ({ ip })) }),
      ...(ips[0] === undefined ? {} : { podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) }),
    },
  };
}

/** A ServiceAccount as the API server sends it. */
export function serviceAccountObject(fields: {
  readonly name: string;
  readonly namespace?: string;
  readonly version?: number;
  readonly annotations?: unknown;
}): unknown {
  const { name, namespace = 'default', version = 10, annotations = {} } = fields;
  const uid = `uid-of-account-${name}`;
  return {
    kind: 'ServiceAccount',
    apiVersion: 'v1',
    metadata: {
      name,
      namespace,
      uid,
      resourceVersion: String(version),
      annotations,
      managedFields: [{ manager: 'x' }],
    },
    secrets: [{ name: `${name}-token` }],
  };
}
