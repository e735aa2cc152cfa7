import assert from 'node:assert/strict';
import test from 'node:test';

import { CREDENTIALS, testAgent } from './fixture.ts';

const LIST = '/latest/meta-data/iam/security-credentials/';
const METRIC = 'kiam_metadata_tokenless_requests_total';

async function countsOf(registry: { metrics(): Promise<string> }): Promise<Record<string, number>> {
  const samples = (await registry.metrics()).matchAll(new RegExp(`^${METRIC}\\{namespace="([^"]*)"\\} (\\d+)$`, 'gm'));
  return Object.fromEntries([...samples].map(([, namespace = '', count]) => [namespace, Number(count)]));
}

test("requests without a session token are counted by the pod's namespace, whatever is answered", async () => {
  const namespaces: Record<string, string> = { '192.0.2.1': 'team-a', '192.0.2.2': 'team-b' };
  const { app, registry } = testAgent({
    source: { namespaceOf: (address) => namespaces[address] ?? '', knownCredentials: () => CREDENTIALS },
  });
  const ask = (remoteAddress: string, url: string, headers: Record<string, string> = {}) =>
    app.inject({ url, remoteAddress, headers });
  await ask('192.0.2.1', LIST);
  await ask('192.0.2.1', `${LIST}reader`);
  await ask('192.0.2.2', '/latest/meta-data/instance-id');
  await ask('192.0.2.3', LIST);
  assert.deepEqual(await countsOf(registry), { 'team-a': 2, 'team-b': 1, unknown: 1 });
  // A token is a token, be it one of the real service: clients keep these for hours.
  await ask('192.0.2.1', LIST, { 'x-aws-ec2-metadata-token': 'of-the-real-service' });
  await ask('192.0.2.1', '/ping');
  await ask('192.0.2.1', '/health');
  await app.inject({
    method: 'PUT',
    url: '/latest/api/token',
    remoteAddress: '192.0.2.1',
    headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '60' },
  });
  assert.deepEqual(await countsOf(registry), { 'team-a': 2, 'team-b': 1, unknown: 1 });
});

test('with --require-imdsv2 those that it refuses are counted', async () => {
  const { app, registry } = testAgent({ requireImdsv2: true, source: { namespaceOf: () => 'team-a' } });
  assert.equal((await app.inject({ url: LIST })).statusCode, 401);
  assert.deepEqual(await countsOf(registry), { 'team-a': 1 });
});

test('namespaces after the first hundred are counted together', async () => {
  const { app, registry } = testAgent({ source: { namespaceOf: (address) => `of-${address}` } });
  for (let n = 0; n < 120; n += 1) await app.inject({ url: LIST, remoteAddress: `192.0.2.${n}` });
  await app.inject({ url: LIST, remoteAddress: '192.0.2.1' });
  const counts = await countsOf(registry);
  assert.equal(Object.keys(counts).length, 101);
  assert.equal(counts['other'], 20);
  assert.equal(counts['of-192.0.2.1'], 2);
});
