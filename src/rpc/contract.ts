import { readFileSync } from 'node:fs';

import { fromJSON } from '@grpc/proto-loader';
import type { MethodDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs';

/** The text of `proto/kiam.proto`, put in by the bundler; from sources the file itself is read. */
declare const KIAM_PROTO: string | undefined;

export const SERVICE_NAME = 'kiam.KiamService';

export interface PodRoleRequest {
  readonly ip: string;
}

export interface PodCredentialsRequest {
  readonly ip: string;
  readonly role: string;
}

export interface Role {
  readonly name: string;
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
}

export interface HealthStatus {
  readonly message: string;
}

/** The methods of the contract: what each is asked, and what it answers. */
export interface Methods {
  readonly GetPodRole: { readonly request: PodRoleRequest; readonly response: Role };
  readonly GetPodCredentials: { readonly request: PodCredentialsRequest; readonly response: WireCredentials };
  readonly GetHealth: { readonly request: object; readonly response: HealthStatus };
}

export type MethodName = keyof Methods;

export type Contract = {
  readonly [M in MethodName]: MethodDefinition<Methods[M]['request'], Methods[M]['response']>;
};

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
  const service = fromJSON(schema, { keepCase: true, defaults: true })[SERVICE_NAME];
  if (!isContract(service)) throw new Error(`proto/kiam.proto does not define ${SERVICE_NAME} as expected`);
  return service;
}

function isContract(service: object | undefined): service is Contract {
  if (service === undefined) return false;
  return ['GetPodRole', 'GetPodCredentials', 'GetHealth'].every((method) => Object.hasOwn(service, method));
}
