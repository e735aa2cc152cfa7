import type { Fields } from './logger.ts';

/**
 * Builders for the names that Kiam gives facts in its lines (docs/specification.md, 11; Kiam, `pkg/k8s/pod.go`,
 * `pkg/aws/sts/credentials.go`, `pkg/server/server.go`). Fields that would be empty are left out where Kiam leaves them out.
 */

export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly phase: string;
  readonly role: string;
  readonly resourceVersion: string;
}

export function podFields(pod: PodFacts): Fields {
  return {
    'pod.namespace': pod.namespace,
    'pod.name': pod.name,
    'pod.status.ip': pod.addresses[0] ?? '',
    'pod.status.phase': pod.phase,
    'pod.iam.role': pod.role,
    'resource.version': pod.resourceVersion,
  };
}

export interface NamespaceFacts {
  readonly name: string;
  /** The expression as annotated. */
  readonly permitted: string;
}

export function namespaceFields(namespace: NamespaceFacts): Fields {
  return { namespace: namespace.name, 'namespace.permitted': namespace.permitted };
}

/** What was asked for: the role as Kiam shows it, session name and external id as annotated, `''` for none. */
export interface RequestedIdentity {
  readonly role: string;
  readonly sessionName: string;
  readonly externalId: string;
}

/** The part of issued credentials that may be seen. */
export interface VisibleCredentials {
  readonly accessKeyId: string;
  /** In milliseconds since the epoch. */
  readonly expiresAtMs: number;
}

/** External ids are half secret: a log line says that there is one, not its value. */
export const MASK = '******';

export function identityFields(identity: RequestedIdentity): Fields {
  return {
    'credentials.role': identity.role,
    'credentials.session-name': identity.sessionName === '' ? undefined : identity.sessionName,
    'credentials.external-id': identity.externalId === '' ? undefined : MASK,
  };
}

export function credentialsFields(credentials: VisibleCredentials, identity: RequestedIdentity): Fields {
  return {
    'credentials.access.key': credentials.accessKeyId,
    'credentials.expiration': `${new Date(credentials.expiresAtMs).toISOString().slice(0, 19)}Z`,
    ...identityFields(identity),
  };
}

/** Why policy refused a pod, beside {@link podFields}. */
export function denialFields(requestedRole: string, explanation: string): Fields {
  return { 'pod.iam.requestedRole': requestedRole, 'policy.explanation': explanation };
}

export interface AnsweredRequest {
  /** Address and port of the peer: `192.0.2.1:40000`, `[2001:db8::1]:40000`. */
  readonly address: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly durationMs: number;
}

/** The access log. Kiam also prints the answer's headers, which we leave out: they tell nothing. */
export function requestFields(request: AnsweredRequest): Fields {
  return {
    addr: request.address,
    method: request.method,
    path: request.path,
    status: request.status,
    duration: Math.floor(request.durationMs),
  };
}
