import { readFileSync } from 'node:fs';

import { fromJSON } from '@grpc/proto-loader';
import type { MethodDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs';

import type { MetadataCredentials } from '#domain/credentials.ts';
import type { NodeDetails, RuleReport } from '#domain/node-details.ts';
import type { NodeReport } from '#domain/node-readiness.ts';

/** The text of `proto/kiam.proto`, put in by the bundler; from sources the file itself is read. */
declare const KIAM_PROTO: string | undefined;

export const SERVICE_NAME = 'kiam.KiamService';

/**
 * What a server does to make sure that an address is still a pod's, before it answers. The agent asks for the check that its
 * own knowledge calls for: what tied the address to a pod before, and what the node's kernel showed then and shows now.
 *
 * | check | when the agent asks for it | the server | with the API server out of reach |
 * |---|---|---|---|
 * | `kernel-bound` | the API server confirmed the pod; the same interface then and now | takes a confirmation of the same pod and address, however old; without one it reads the pod | answers where there is such a confirmation, else as for `read` |
 * | `read-unless-recent` | confirmed within `--max-view-age`: by a young view with the same interface, or without evidence and not before the connection | takes a confirmation younger than `--max-view-age`, else it reads the pod | answers while its view is younger than `--max-view-age` |
 * | `read` | never confirmed, or too long ago; without evidence, or with the same interface | reads the pod | answers while its view is younger than `--max-view-age` |
 * | `read-or-refuse` | confirmed with other evidence than now, or servers disagreed | reads the pod, and refuses one that is being deleted | refuses |
 *
 * With the first two the agent answers from its memory alone where that holds the answer. The numbers are those of the
 * contract; Kiam's agents send none, which is `read-unless-recent`.
 */
export const ADDRESS_CHECKS = { 'read-unless-recent': 0, read: 1, 'read-or-refuse': 2, 'kernel-bound': 3 } as const;
export type AddressCheck = keyof typeof ADDRESS_CHECKS;

/** The checks that the agent need not ask for where its memory holds the answer: the address is tied to a pod. */
export type AddressTie = Extract<AddressCheck, 'kernel-bound' | 'read-unless-recent'>;

export interface PodRoleRequest {
  readonly ip: string;
  /** A number of {@link ADDRESS_CHECKS}. */
  readonly confirm?: number;
  /** Whether the agent follows `WatchNode`, at whichever replica. Kiam's agents say nothing, which is false. */
  readonly watching?: boolean;
}

export interface PodCredentialsRequest {
  readonly ip: string;
  readonly role: string;
  readonly confirm?: number;
  readonly watching?: boolean;
}

export interface Role {
  readonly name: string;
  /** `''` from Kiam's server, as `role_arn`. */
  readonly uid: string;
  readonly role_arn: string;
  /** How long ago it was certain that the address was the pod's, in milliseconds; 0 when the API server was asked. */
  readonly view_age_ms: number;
}

/** Field names are those of the contract, as Kiam wrote them. */
export interface WireCredentials {
  readonly code: string;
  readonly type: string;
  readonly access_key_id: string;
  readonly secret_access_key: string;
  readonly token: string;
  readonly expiration: string;
  readonly last_updated: string;
  /** `''` from Kiam's server, as `role_arn`. */
  readonly uid: string;
  readonly role_arn: string;
  /** As that of {@link Role}. */
  readonly view_age_ms: number;
}

/** For whom an answer is, and how old that knowledge is. */
export interface Holder {
  /** `''` where the server is Kiam's. */
  readonly uid: string;
  /** `''` also when the pod may not have its role. */
  readonly roleArn: string;
  /** How long ago it was certain that the address was the pod's, in milliseconds. */
  readonly viewAgeMs: number;
}

/** Credentials on a node's stream are for every pod of the node that has the identity. */
const NOBODY: Holder = { uid: '', roleArn: '', viewAgeMs: 0 };

/** Credentials off the wire. */
export function credentialsOf(wire: WireCredentials): MetadataCredentials {
  return {
    code: wire.code,
    type: wire.type,
    accessKeyId: wire.access_key_id,
    secretAccessKey: wire.secret_access_key,
    token: wire.token,
    expiration: wire.expiration,
    lastUpdated: wire.last_updated,
  };
}

/** Credentials in the contract's form, with the pod that they are for where it is known. */
export function wireCredentials(
  credentials: MetadataCredentials,
  { uid, roleArn, viewAgeMs }: Holder = NOBODY,
): WireCredentials {
  return {
    code: credentials.code,
    type: credentials.type,
    access_key_id: credentials.accessKeyId,
    secret_access_key: credentials.secretAccessKey,
    token: credentials.token,
    expiration: credentials.expiration,
    last_updated: credentials.lastUpdated,
    uid,
    role_arn: roleArn,
    view_age_ms: Math.ceil(viewAgeMs),
  };
}

export interface WatchNodeRequest {
  readonly host_ip: string;
}

/** What a pod of the node is and may have. */
export interface PodBinding {
  readonly uid: string;
  readonly addresses: readonly string[];
  readonly role: string;
  readonly role_arn: string;
  readonly identity: string;
  readonly namespace: string;
  /** It shares its node's addresses, so none is sent; only its token shows that a request is its own. */
  readonly host_network?: boolean;
  /** This and what follows is for the audit log; `''` from older servers. */
  readonly name: string;
  readonly service_account: string;
  readonly node_name: string;
  readonly session_name: string;
  /** `''` where the server does not know it, and from older ones. */
  readonly service_account_uid: string;
}

/** How to recognise the cluster's tokens: `iss`, and the public keys as a JSON Web Key Set. */
export interface TokenAuthority {
  readonly issuer: string;
  readonly jwks: string;
}

export interface IssuedCredentials {
  readonly identity: string;
  readonly credentials: WireCredentials;
  readonly expires_at_ms: number;
}

/** One message of the stream; exactly one field is set. */
export interface NodeUpdate {
  readonly pod?: PodBinding;
  readonly gone?: { readonly uid: string };
  readonly credentials?: IssuedCredentials;
  readonly synced?: { readonly max_view_age_ms: number };
  readonly heartbeat?: { readonly silence_ms: number; readonly view_age_ms: number };
  readonly moved?: object;
  readonly token_authority?: TokenAuthority;
}

/** The numbers of `RuleState` in the contract. */
const RULE_STATES: readonly RuleReport[] = ['unknown', 'present', 'missing', 'off'];

export interface WireNodeDetails {
  readonly version: string;
  /** A number of `RuleState`, as `guard`. */
  readonly redirect: number;
  readonly guard: number;
  readonly last_error: string;
  readonly last_error_at_ms: number;
  readonly pods: number;
}

/** The details are null from servers and agents that are older. */
export type WireNodeReport = NodeReport & { readonly details: WireNodeDetails | null };

export function wireNodeReport(report: NodeReport, { lastError, ...details }: NodeDetails): WireNodeReport {
  return {
    ...report,
    details: {
      version: details.version,
      redirect: RULE_STATES.indexOf(details.redirect),
      guard: RULE_STATES.indexOf(details.guard),
      last_error: lastError?.text ?? '',
      last_error_at_ms: lastError?.atMs ?? 0,
      pods: details.pods,
    },
  };
}

/** Details off the wire. */
export function nodeDetailsOf({ details }: WireNodeReport): NodeDetails | undefined {
  if (details === null) return undefined;
  const { version, redirect, guard, pods, last_error: text, last_error_at_ms: atMs } = details;
  return {
    version,
    redirect: RULE_STATES[redirect] ?? 'unknown',
    guard: RULE_STATES[guard] ?? 'unknown',
    lastError: text === '' ? undefined : { text, atMs },
    pods,
  };
}

export interface HealthStatus {
  readonly message: string;
}

/** The unary methods of the contract: what each is asked, and what it answers. */
export interface Methods {
  readonly GetPodRole: { readonly request: PodRoleRequest; readonly response: Role };
  readonly GetPodCredentials: { readonly request: PodCredentialsRequest; readonly response: WireCredentials };
  readonly GetHealth: { readonly request: object; readonly response: HealthStatus };
  readonly ReportNode: { readonly request: WireNodeReport; readonly response: object };
}

export type MethodName = keyof Methods;

export type UnaryContract = {
  readonly [M in MethodName]: MethodDefinition<Methods[M]['request'], Methods[M]['response']>;
};

export type Contract = UnaryContract & { readonly WatchNode: MethodDefinition<WatchNodeRequest, NodeUpdate> };

/**
 * Loads the contract. The types above are what `proto/kiam.proto` says: proto3 strings with defaults, so every field is
 * there and is text. Throws when the file is not what this program was built for, which is a defect.
 */
export function loadContract(): Contract {
  const text =
    typeof KIAM_PROTO === 'string'
      ? KIAM_PROTO
      : readFileSync(new URL('../../proto/kiam.proto', import.meta.url), 'utf8');
  const schema = protobuf.parse(text, { keepCase: true }).root.toJSON();
  const service = fromJSON(schema, { keepCase: true, defaults: true, oneofs: true, longs: Number })[SERVICE_NAME];
  if (!isContract(service)) throw new Error(`proto/kiam.proto does not define ${SERVICE_NAME} as expected`);
  return service;
}

function isContract(service: object | undefined): service is Contract {
  if (service === undefined) return false;
  const methods = ['GetPodRole', 'GetPodCredentials', 'GetHealth', 'WatchNode', 'ReportNode'];
  return methods.every((method) => Object.hasOwn(service, method));
}
