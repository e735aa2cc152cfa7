import assert from 'node:assert/strict';
import test from 'node:test';

import { failed } from '#domain/failure.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { podRole, testAgent } from './fixture.ts';

const LIST = '/latest/meta-data/iam/security-credentials/';

test('a request that goes well is a debug line with the fields that Kiam writes', async () => {
  const clock = new ManualClock();
  const { app, lines } = testAgent({
    clock,
    source: {
      podRole: async () => {
        await clock.advance(12.4);
        return { ok: true, value: podRole('reader') };
      },
    },
  });
  await app.inject({ url: `${LIST}?x=1`, remoteAddress: '192.0.2.1' });
  assert.deepEqual(lines, [
    {
      level: 'debug',
      message: 'processed request',
      fields: { addr: '192.0.2.1:0', method: 'GET', path: LIST, status: 200, duration: 12 },
    },
  ]);
});

test('without debug lines a request that goes well, and an expected 404, write nothing', async () => {
  const { app, lines } = testAgent({ logsDebug: false });
  await app.inject({ url: LIST });
  await app.inject({ url: '/latest/meta-data/placement/region' });
  assert.deepEqual(lines, []);
});

test('a pod without a role and a closed route are debug lines, failures are an error with their text, then info', async () => {
  const { app, lines } = testAgent({
    source: {
      podRole: () => Promise.resolve(failed('role-empty', '')),
      podCredentials: () => Promise.resolve(failed('sts-refused', 'AccessDenied')),
    },
  });
  for (const url of [LIST, '/x', `${LIST}reader`, '/latest/%252e']) await app.inject({ url });
  assert.deepEqual(
    lines.map(({ level, message, fields }) => [level, message, fields['status']]),
    [
      ['debug', 'processed request', 404],
      ['debug', 'processed request', 404],
      ['error', 'error processing request: error fetching credentials: AccessDenied', 500],
      ['info', 'processed request', 500],
      ['error', 'error processing request: the path is ambiguous', 400],
      ['info', 'processed request', 400],
    ],
  );
});

test('no line holds a secret', async () => {
  const { app, lines } = testAgent();
  const token = await app.inject({
    method: 'PUT',
    url: '/latest/api/token',
    headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '60' },
  });
  await app.inject({ url: `${LIST}reader`, headers: { 'x-aws-ec2-metadata-token': token.body } });
  const text = JSON.stringify(lines);
  for (const secret of ['SECRET1', 'TOKEN1', token.body]) assert.ok(!text.includes(secret));
});
