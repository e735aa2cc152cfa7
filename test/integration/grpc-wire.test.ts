import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import { type Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';

import { createAuthority } from '#pki/authority.ts';

import { loadKiamService } from '../conformance/kiam-wire.ts';
import { startRecordedCluster } from '../conformance/recorded-cluster.ts';
import type { Cluster } from '../support/cluster.ts';

type Fields = Readonly<Record<string, string>>;
type Result = { readonly answer: Fields } | { readonly code: string; readonly text: string };

const METHODS = { role: 'GetPodRole', keys: 'GetPodCredentials', health: 'GetHealth' } as const;

/** Messages are those of the real Kiam's server; it answers every one of them with `Unknown`. */
const REFUSALS: readonly [what: string, method: keyof typeof METHODS, question: Fields, code: string, text: string][] =
  [
    ['the role of an address that is no pod', 'role', { ip: '127.0.9.9' }, 'NOT_FOUND', 'pod not found'],
    ['the role of a pod that has ended', 'role', { ip: '127.0.1.16' }, 'NOT_FOUND', 'pod not found'],
    ['the role of what is no address', 'role', { ip: 'nonsense' }, 'NOT_FOUND', 'pod not found'],
    ['the role of an empty address', 'role', {}, 'NOT_FOUND', 'pod not found'],
    ['keys for an address that is no pod', 'keys', { ip: '127.0.9.9', role: 'reader' }, 'NOT_FOUND', 'no pod found'],
    [
      'keys for an address of two pods',
      'keys',
      { ip: '127.0.1.20', role: 'reader' },
      'FAILED_PRECONDITION',
      'multiple running pods found',
    ],
    [
      'the role of an address of two pods',
      'role',
      { ip: '127.0.1.20' },
      'FAILED_PRECONDITION',
      'multiple running pods found',
    ],
    ['keys of another role', 'keys', { ip: '127.0.1.1', role: 'writer' }, 'PERMISSION_DENIED', 'forbidden by policy'],
    ['keys of no role', 'keys', { ip: '127.0.1.1' }, 'PERMISSION_DENIED', 'forbidden by policy'],
    [
      'keys where nothing is permitted',
      'keys',
      { ip: '127.0.1.4', role: 'reader' },
      'PERMISSION_DENIED',
      'forbidden by policy',
    ],
    [
      'keys where the expression is invalid',
      'keys',
      { ip: '127.0.1.27', role: 'reader' },
      'PERMISSION_DENIED',
      'forbidden by policy',
    ],
    [
      'keys for a pod without a role',
      'keys',
      { ip: '127.0.1.2', role: 'reader' },
      'FAILED_PRECONDITION',
      "role can't be empty",
    ],
  ];

/** STS's codes are Kiam's messages too; its texts, which name the role of the server itself, are not ours. */
const STS_REFUSALS: readonly [role: string, ip: string, code: string, text: RegExp][] = [
  ['denied-by-sts', '127.0.1.23', 'FAILED_PRECONDITION', /AccessDenied$/],
  ['throttled-by-sts', '127.0.1.24', 'UNAVAILABLE', /Throttling$/],
  ['error-by-sts', '127.0.1.25', 'UNAVAILABLE', /InternalFailure$/],
];

describe('a client that knows no more than Kiam’s three calls', () => {
  let cluster: Cluster;
  let port = 0;
  let client: Client;

  before(async () => {
    cluster = await startRecordedCluster();
    port = (await cluster.startServer()).port;
    client = await clientOf(cluster.world.certificates.agentCertificate, cluster.world.certificates.agentKey);
  });

  after(async () => {
    client.close();
    await cluster.close();
  });

  async function clientOf(certificate: string | undefined, key: string | undefined): Promise<Client> {
    const keyPem = key === undefined ? null : await readFile(key);
    const certificatePem = certificate === undefined ? null : await readFile(certificate);
    const secure = credentials.createSsl(await readFile(cluster.world.certificates.ca), keyPem, certificatePem);
    return new (loadKiamService())(`localhost:${port}`, secure);
  }

  it('a client that knows no more than Kiam’s three calls is told a role, as annotated', async () => {
    assert.deepEqual(await call(client, 'role', { ip: '127.0.1.8' }), { answer: { name: '/team-a/app' } });
    assert.deepEqual(await call(client, 'role', { ip: '127.0.1.2' }), { answer: { name: '' } });
    assert.deepEqual(await call(client, 'role', { ip: '::ffff:127.0.1.1' }), { answer: { name: 'reader' } });
  });

  it('a client that knows no more than Kiam’s three calls is told keys that STS issued for that role and session', async () => {
    const result = await call(client, 'keys', { ip: '127.0.1.13', role: 'session-role' });
    assert.ok('answer' in result);
    const { code, type, access_key_id, secret_access_key, token, expiration, last_updated, ...more } = result.answer;
    assert.deepEqual([code, type, more], ['Success', 'AWS-HMAC', {}]);
    const identity = cluster.world.sts.identify(access_key_id ?? '');
    assert.deepEqual(
      [identity?.roleArn, identity?.sessionName],
      ['arn:aws:iam::123456789012:role/session-role', 'kiam-my-session-1'],
    );
    assert.ok(secret_access_key !== '' && token !== '');
    for (const time of [expiration, last_updated]) assert.match(time ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  it('a client that knows no more than Kiam’s three calls is told that the server is well', async () => {
    assert.deepEqual(await call(client, 'health', {}), { answer: { message: 'ok' } });
  });

  for (const [what, method, question, code, text] of REFUSALS) {
    it(`a client that knows no more than Kiam’s three calls reads why it does not get ${what}`, async () => {
      assert.deepEqual(await call(client, method, question), { code, text });
    });
  }

  for (const [role, ip, code, text] of STS_REFUSALS) {
    it(`a client that knows no more than Kiam’s three calls reads the code of STS, and nothing about the server’s own role, for ${role}`, async () => {
      const result = await call(client, 'keys', { ip, role });
      assert.ok('code' in result);
      assert.equal(result.code, code);
      assert.match(result.text, text);
      assert.doesNotMatch(result.text, /arn:|user\//);
    });
  }

  it('a client that knows no more than Kiam’s three calls gives up when it likes', async () => {
    const result = await call(client, 'role', { ip: '127.0.9.9' }, 60);
    assert.ok('code' in result);
    // The server keeps a little of the time to say why; on a busy machine the time is up first.
    assert.ok(['NOT_FOUND', 'DEADLINE_EXCEEDED'].includes(result.code), result.code);
  });

  it('a client that knows no more than Kiam’s three calls is told of a call that does not exist that it does not', async () => {
    const result = await new Promise<Result>((resolve) => {
      const take = (error: ServiceError | null): void => resolve(resultOf(error, undefined));
      client.makeUnaryRequest(
        '/kiam.KiamService/Nothing',
        () => Buffer.alloc(0),
        () => ({}),
        {},
        take,
      );
    });
    assert.equal('code' in result && result.code, 'UNIMPLEMENTED');
  });

  it('a client that knows no more than Kiam’s three calls gets nothing without a certificate, or with one of another authority', async (t) => {
    const { folder } = cluster.world;
    const authority = await createAuthority({ commonName: 'another' });
    const other = await authority.issue({ commonName: 'kiam-agent', usage: 'client' });
    await writeFile(`${folder}/other.pem`, other.certificatePem);
    await writeFile(`${folder}/other-key.pem`, other.privateKeyPem);
    for (const stranger of [
      await clientOf(undefined, undefined),
      await clientOf(`${folder}/other.pem`, `${folder}/other-key.pem`),
    ]) {
      t.after(() => stranger.close());
      const result = await call(stranger, 'role', { ip: '127.0.1.1' });
      assert.equal('code' in result && result.code, 'UNAVAILABLE');
    }
  });
});

function call(client: Client, method: keyof typeof METHODS, question: Fields, withinMs = 5000): Promise<Result> {
  const deadline = Date.now() + withinMs;
  return new Promise((resolve) => {
    const take = (error: ServiceError | null, answer?: Fields): void => resolve(resultOf(error, answer));
    // A raw client has a method for each call of its contract.
    const calls = client as unknown as Record<string, (...args: unknown[]) => void>;
    calls[METHODS[method]]?.(question, new Metadata(), { deadline }, take);
  });
}

function resultOf(error: ServiceError | null, answer: Fields | undefined): Result {
  if (error !== null) return { code: status[error.code], text: error.details };
  return { answer: { ...answer } };
}
