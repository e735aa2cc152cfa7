import assert from 'node:assert/strict';
import test from 'node:test';

import type { PodRole } from '#agent/ports.ts';
import { createLimits } from '#agent/limits.ts';
import { type Outcome, succeeded } from '#domain/failure.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { podRole, testAgent } from './fixture.ts';

const LIST = '/latest/meta-data/iam/security-credentials/';

test('an address may send a burst, and then as many requests as the rate allows', () => {
  const limits = createLimits({ concurrency: 0, ratePerSecond: 10, burst: 5 });
  const admitted = (nowMs: number, times: number): number =>
    Array.from({ length: times }, () => limits.admit('192.0.2.1', nowMs)).filter((usage) => usage !== 'rate').length;
  assert.equal(admitted(0, 10), 5);
  assert.equal(admitted(99, 10), 0);
  assert.equal(admitted(200, 10), 2);
  assert.equal(admitted(1_000_000, 10), 5);
});

test("one address's eagerness is not another's", () => {
  const limits = createLimits({ concurrency: 0, ratePerSecond: 1, burst: 1 });
  assert.equal(typeof limits.admit('192.0.2.1', 0), 'object');
  assert.equal(limits.admit('192.0.2.1', 0), 'rate');
  assert.equal(typeof limits.admit('192.0.2.2', 0), 'object');
});

test('zero is no limit', () => {
  const limits = createLimits({ concurrency: 0, ratePerSecond: 0, burst: 0 });
  for (let times = 0; times < 1000; times += 1) {
    const usage = limits.admit('192.0.2.1', 0);
    assert.ok(typeof usage === 'object');
    usage.waiting += 1;
  }
});

test('requests that wait are limited for each pod, and an answer makes room', async () => {
  const answers: ((outcome: Outcome<PodRole>) => void)[] = [];
  const { app, registry } = testAgent({
    podLimits: { concurrency: 2, ratePerSecond: 0, burst: 0 },
    source: {
      podRole: () =>
        new Promise((resolve) => {
          answers.push(resolve);
        }),
    },
  });
  const from = (remoteAddress: string) => app.inject({ url: LIST, remoteAddress });
  const waiting = [from('192.0.2.1'), from('192.0.2.1'), from('192.0.2.2')];
  while (answers.length < 3) await new Promise(setImmediate);
  const refused = await from('192.0.2.1');
  assert.equal(refused.statusCode, 429);
  assert.equal(refused.headers['retry-after'], '1');
  assert.equal(refused.headers['x-amz-retry-after'], '1000');
  assert.equal(refused.body, "too many requests: the pod's limit on concurrency is reached\n");
  assert.match(await registry.metrics(), /kiam_metadata_refused_requests_total\{reason="concurrency"\} 1/);
  answers[0]?.(succeeded(podRole('reader')));
  assert.equal((await waiting[0])?.statusCode, 200);
  const next = from('192.0.2.1');
  while (answers.length < 4) await new Promise(setImmediate);
  for (const answer of answers) answer(succeeded(podRole('reader')));
  assert.equal((await next).statusCode, 200);
  await Promise.all(waiting);
});

test('a pod over its rate is 429 on every route, and its log lines are bounded', async () => {
  const clock = new ManualClock();
  const { app, lines } = testAgent({ clock, podLimits: { concurrency: 0, ratePerSecond: 1, burst: 1 } });
  assert.equal((await app.inject({ url: LIST })).statusCode, 200);
  for (let times = 0; times < 60; times += 1) {
    for (const url of [LIST, '/latest/meta-data/iam/info', '/x', '/ping', '/health']) {
      const refused = await app.inject({ url });
      assert.equal(refused.statusCode, 429);
      assert.equal(refused.headers.connection, 'close');
    }
  }
  assert.equal(lines.filter(({ level }) => level === 'info').length, 20);
  await clock.advance(200);
  await app.inject({ url: LIST });
  const last = lines.findLast(({ level }) => level === 'info');
  assert.equal(last?.fields['suppressed'], 280);
});

test("the kubelet's probes have a share of their own beside the programs that have its address, and no other route has", async () => {
  const { app } = testAgent({
    clock: new ManualClock(),
    podLimits: { concurrency: 0, ratePerSecond: 1, burst: 1 },
  });
  const kubelet = { 'user-agent': 'kube-probe/1.34' };
  assert.equal((await app.inject({ url: LIST })).statusCode, 200);
  for (const url of ['/ping', '/health']) {
    assert.equal((await app.inject({ url })).statusCode, 429);
    assert.equal((await app.inject({ url, headers: kubelet })).statusCode, 200);
  }
  assert.equal((await app.inject({ url: LIST, headers: kubelet })).statusCode, 429);
  const answers: number[] = [];
  for (let times = 0; times < 30; times += 1) {
    answers.push((await app.inject({ url: '/ping', headers: kubelet })).statusCode);
  }
  assert.equal(answers.filter((status) => status === 200).length, 18);
});
