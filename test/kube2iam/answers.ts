import type { World } from '#sandbox/world.ts';

import { issuedBy, recordedIdentity } from '../conformance/answers.ts';
import type { Answer } from '../support/cluster.ts';
import type { Kube2iamCase } from './recorded.ts';

/** An answer, as far as it is compared: who credentials are for stands in place of the credentials. */
export interface Kube2iamAnswer {
  status: number;
  type: string;
  server: string;
  location: string;
  body: string | Kube2iamIdentity;
}

export interface Kube2iamIdentity {
  role: string;
  session: string;
  readonly lifeSeconds: number;
  readonly fields: readonly string[];
}

export function recordedKube2iamAnswer({ response: { status, headers, body } }: Kube2iamCase): Kube2iamAnswer {
  return {
    status,
    type: headers['Content-Type'] ?? '',
    server: headers['Server'] ?? '',
    location: headers['Location'] ?? '',
    body: bodyOf(body, recordedIdentity),
  };
}

export function ourKube2iamAnswer(world: World, { status, headers, body }: Answer): Kube2iamAnswer {
  const header = (name: string): string => [headers[name] ?? []].flat().join();
  return {
    status,
    type: header('content-type'),
    server: header('server'),
    location: header('location'),
    body: bodyOf(body, issuedBy(world)),
  };
}

const TOKEN = /^(?:IMDS[0-9a-f-]{36}|[A-Za-z0-9_-]{40,})$/;

type Fields = Readonly<Record<string, string>>;

function bodyOf(
  text: string,
  identityOf: (fields: Fields) => { role: string; session: string },
): string | Kube2iamIdentity {
  if (TOKEN.test(text)) return 'a session token';
  if (!text.startsWith('{"AccessKeyId"')) return text;
  const fields = JSON.parse(text) as Fields;
  const seconds = (name: string): number => Date.parse(fields[name] ?? '') / 1000;
  return {
    ...identityOf(fields),
    lifeSeconds: Math.round((seconds('Expiration') - seconds('LastUpdated')) / 10) * 10,
    fields: Object.keys(fields),
  };
}
