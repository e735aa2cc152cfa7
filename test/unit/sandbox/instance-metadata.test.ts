import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { parseJsonObject, textAt } from '#sandbox/json.ts';
import { type InstanceMetadata, startInstanceMetadata } from '#sandbox/instance-metadata.ts';
import { startSts, type Sts } from '#sandbox/sts/sts.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const FACTS = {
  instanceId: 'i-0sandbox00000001',
  accountId: '123456789012',
  region: 'eu-west-1',
  availabilityZone: 'eu-west-1a',
  localIpv4: '127.0.0.1',
  roleName: 'node',
  userData: '',
};

let clock: ManualClock;
let sts: Sts;
let metadata: InstanceMetadata;
beforeEach(async () => {
  clock = new ManualClock();
  sts = await startSts({ clock });
  metadata = await startInstanceMetadata({ clock, sts, facts: FACTS });
});
afterEach(async () => {
  await Promise.all([metadata.close(), sts.close()]);
});

const TTL = 'x-aws-ec2-metadata-token-ttl-seconds';
const TOKEN = 'x-aws-ec2-metadata-token';

function put(headers: Readonly<Record<string, string>>): Promise<Response> {
  return fetch(`${metadata.url}/latest/api/token`, { method: 'PUT', headers });
}

async function token(seconds = 60): Promise<string> {
  return (await put({ [TTL]: String(seconds) })).text();
}

async function read(path: string, headers: Readonly<Record<string, string>>): Promise<[number, string]> {
  const response = await fetch(metadata.url + path, { headers });
  return [response.status, await response.text()];
}

test('tokens are given for 1 second to 6 hours, and to no proxy', async () => {
  const cases: readonly [Readonly<Record<string, string>>, number][] = [
    [{ [TTL]: '1' }, 200],
    [{ [TTL]: '21600' }, 200],
    [{ [TTL]: '0' }, 400],
    [{ [TTL]: '21601' }, 400],
    [{ [TTL]: 'soon' }, 400],
    [{}, 400],
    [{ [TTL]: '60', 'x-forwarded-for': '192.0.2.1' }, 403],
  ];
  for (const [headers, status] of cases) assert.equal((await put(headers)).status, status, JSON.stringify(headers));
  assert.equal((await put({ [TTL]: '77' })).headers.get(TTL), '77');
});

test('without a token that is known and alive there is nothing to read, unless version 1 is allowed', async () => {
  const path = '/latest/meta-data/instance-id';
  const alive = { [TOKEN]: await token(60) };
  assert.deepEqual(await read(path, alive), [200, FACTS.instanceId]);
  assert.equal((await read(path, {}))[0], 401);
  assert.equal((await read(path, { [TOKEN]: 'invented' }))[0], 401);
  await clock.advance(60_000);
  assert.equal((await read(path, alive))[0], 401);
  metadata.requireToken(false);
  assert.deepEqual(await read(path, {}), [200, FACTS.instanceId]);
  assert.equal((await read(path, { [TOKEN]: 'invented' }))[0], 401);
});

test('the tree is that of EC2, under any version', async () => {
  const headers = { [TOKEN]: await token() };
  const cases: readonly [string, number, string | RegExp][] = [
    ['/2021-03-23/meta-data/placement/region', 200, 'eu-west-1'],
    ['/latest/meta-data/placement/availability-zone/', 200, 'eu-west-1a'],
    ['/latest/meta-data/iam/', 200, 'info\nsecurity-credentials/'],
    ['/latest/meta-data/iam/security-credentials/', 200, 'node'],
    ['/latest/meta-data/iam/info', 200, /"InstanceProfileArn": "arn:aws:iam::123456789012:instance-profile\/node"/],
    ['/latest/dynamic/instance-identity/document', 200, /"instanceId": "i-0sandbox00000001"/],
    ['/latest/meta-data/iam/security-credentials/other', 404, /Not Found/],
    ['/latest/meta-data/constructor', 404, /Not Found/],
    ['/latest/user-data', 404, /Not Found/],
    ['/%', 200, /meta-data/],
  ];
  for (const [path, status, body] of cases) {
    const [seenStatus, seenBody] = await read(path, headers);
    assert.equal(seenStatus, status, path);
    if (typeof body === 'string') assert.equal(seenBody, body);
    else assert.match(seenBody, body);
  }
});

test('the role of the node is really usable, is renewed before it ends, and whoever got it is known', async () => {
  const headers = { [TOKEN]: await token(21_600) };
  const path = '/latest/meta-data/iam/security-credentials/node';
  const [, first] = await read(path, headers);
  const keyOf = (text: string): string => textAt(parseJsonObject(text), 'AccessKeyId');
  assert.equal(sts.identify(keyOf(first))?.arn, 'arn:aws:sts::123456789012:assumed-role/node/i-0sandbox00000001');
  assert.equal((await read(path, headers))[1], first);
  await clock.advance(5.9 * 3_600_000);
  assert.notEqual(keyOf((await read(path, headers))[1]), keyOf(first));
  assert.deepEqual(metadata.nodeRoleServedTo(), ['127.0.0.1']);
  assert.deepEqual(metadata.nodeRoleServedTo({ except: ['127.0.0.1'] }), []);
});

test('a clever spelling of the path to the role of the node is noticed as well', async () => {
  const { request } = await import('node:http');
  const path = '/latest//meta-data/x/%2e%2e/identity-credentials/ec2/security-credentials/./ec2-instance';
  const headers = { [TOKEN]: await token() };
  await new Promise<void>((resolve, reject) => {
    request(metadata.url, { path, headers }, (response) => response.resume().on('end', resolve))
      .on('error', reject)
      .end();
  });
  assert.deepEqual(metadata.nodeRoleServedTo(), ['127.0.0.1']);
  assert.equal(metadata.requests().at(-1)?.url, path);
});

test('requests are remembered with their headers as they came', async () => {
  await read('/latest/meta-data/', { 'X-Custom': 'One' });
  const last = metadata.requests().at(-1);
  assert.deepEqual(
    [last?.method, last?.url, last?.status, last?.peer],
    ['GET', '/latest/meta-data/', 401, '127.0.0.1'],
  );
  assert.ok(last?.rawHeaders.includes('One'));
});

test('it fails and hangs as told', async () => {
  metadata.fail(500);
  assert.equal((await put({ [TTL]: '60' })).status, 500);
  metadata.fail('hang');
  await assert.rejects(fetch(metadata.url, { signal: AbortSignal.timeout(50) }));
  metadata.fail(undefined);
  assert.equal((await put({ [TTL]: '60' })).status, 200);
});

test('one hop beyond its limit nobody gets a token, and everything else', async () => {
  metadata.keepTokens(true);
  const signal = AbortSignal.timeout(200);
  await assert.rejects(fetch(`${metadata.url}/latest/api/token`, { method: 'PUT', headers: { [TTL]: '60' }, signal }));
  assert.equal((await read('/latest/meta-data/instance-id', {}))[0], 401);
  metadata.keepTokens(false);
  assert.equal((await put({ [TTL]: '60' })).status, 200);
});
