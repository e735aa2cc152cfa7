import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Counter } from 'prom-client';
import { startMetricsListener } from '#telemetry/listener.ts';
import type { MetricsListenerOptions } from '#telemetry/listener.ts';
import { createRegistry } from '#telemetry/registry.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

async function start(t: TestContext, options: Partial<MetricsListenerOptions> = {}): Promise<string> {
  const listener = startMetricsListener({
    address: { host: 'localhost', port: 0 },
    registry: createRegistry({ processMetrics: false }),
    readiness: () => [],
    logger: recordingLogger().logger,
    clock: new ManualClock(),
    ...options,
  });
  t.after(() => listener.close());
  return `http://127.0.0.1:${await listener.listening}`;
}

test('The metrics are served in the text format', async (t) => {
  const registry = createRegistry({ processMetrics: false });
  new Counter({ name: 'kiam_example_total', help: 'x', registers: [registry] }).inc(3);
  const response = await fetch(`${await start(t, { registry })}/metrics`);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  assert.match(await response.text(), /^kiam_example_total 3$/m);
});

test('Readiness is asked at each request, and each reason stands on a line of its own', async (t) => {
  let reasons: string[] = ['no server answers: 10.0.0.1\nrefused', 'no rule yet'];
  const origin = await start(t, { readiness: () => reasons });
  const unready = await fetch(`${origin}/ready`);
  assert.equal(unready.status, 503);
  assert.equal(await unready.text(), 'no server answers: 10.0.0.1 refused\nno rule yet\n');
  assert.equal((await fetch(`${origin}/live`)).status, 200);
  reasons = [];
  assert.equal((await fetch(`${origin}/ready`)).status, 200);
});

test('Other paths are 404 and other methods 405', async (t) => {
  const origin = await start(t);
  for (const path of ['/', '/metrics/', '//metrics', '/constructor', '/debug/pprof/profile']) {
    assert.equal((await fetch(origin + path)).status, 404, path);
  }
  assert.equal((await fetch(`${origin}/metrics`, { method: 'POST', body: 'x' })).status, 405);
  assert.equal((await fetch(`${origin}/live`, { method: 'HEAD' })).status, 200);
});

test('A probe that fails inside is answered 500, logged, and told nothing', async (t) => {
  const { logger, lines } = recordingLogger();
  const readiness = (): never => {
    throw new Error('secret inside');
  };
  const response = await fetch(`${await start(t, { readiness, logger })}/ready`);
  assert.equal(response.status, 500);
  assert.doesNotMatch(await response.text(), /secret/);
  assert.equal(lines.filter(({ level }) => level === 'error').length, 1);
});

test('Headers over 8 KiB and requests that are none end their own connection only', async (t) => {
  const origin = await start(t);
  for (const bytes of [`GET /live HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(9000)}\r\n\r\n`, '\u0000\u0001\r\n\r\n']) {
    const socket = connect(Number(new URL(origin).port), '127.0.0.1');
    // The peer may reset the connection before it has read all of this.
    socket.on('error', () => {});
    let answer = '';
    socket.on('data', (chunk) => {
      answer += String(chunk);
    });
    socket.end(bytes);
    await once(socket, 'close');
    assert.equal(answer, '');
  }
  assert.equal((await fetch(`${origin}/live`)).status, 200);
});

test('One peer that opens all the connections it can does not keep another out', async (t) => {
  const port = Number(new URL(await start(t)).port);
  const closed: string[] = [];
  const sockets = Array.from({ length: 40 }, () => connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' }));
  for (const socket of sockets) {
    t.after(() => socket.destroy());
    socket
      .on('error', () => {})
      .on('close', () => closed.push('x'))
      .resume();
  }
  while (closed.length < 24) await settle();
  const probe = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.3' });
  probe.write('GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  const [answer]: unknown[] = await once(probe, 'data');
  assert.match(String(answer), /^HTTP\/1\.1 200 /);
  assert.equal(closed.length, 24);
  for (const socket of sockets) socket.destroy();
  while (closed.length < 40) await settle();
  const again = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' });
  again.write('GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  assert.match(String((await once(again, 'data'))[0]), /^HTTP\/1\.1 200 /);
});

/** Sends requests all at once and resolves with all that comes back until the connection ends. */
async function pipelined(origin: string, request: string, count: number): Promise<string> {
  const socket = connect(Number(new URL(origin).port), '127.0.0.1');
  socket.on('error', () => {});
  let answer = '';
  socket.on('data', (chunk) => {
    answer += String(chunk);
  });
  socket.write(`${request}Host: x\r\n\r\n`.repeat(count) + `${request}Host: x\r\nConnection: close\r\n\r\n`);
  await once(socket, 'close');
  return answer;
}

test('The metrics are rendered once at a time and once a second at most, whoever asks', async (t) => {
  const registry = createRegistry({ processMetrics: false });
  let collected = 0;
  const collect = (): void => void (collected += 1);
  registry.registerMetric(new Counter({ name: 'kiam_example_total', help: 'x', registers: [], collect }));
  const clock = new ManualClock();
  const origin = await start(t, { registry, clock });
  await Promise.all(Array.from({ length: 10 }, () => fetch(`${origin}/metrics`).then((response) => response.text())));
  assert.equal(collected, 1);
  await clock.advance(999);
  await fetch(`${origin}/metrics`);
  assert.equal(collected, 1);
  await clock.advance(1);
  await fetch(`${origin}/metrics`);
  assert.equal(collected, 2);
});

test('A peer over its rate is answered 429 once and cut off, whatever it sent at once', async (t) => {
  const origin = await start(t);
  const answer = await pipelined(origin, 'GET /metrics HTTP/1.1\r\n', 1000);
  assert.equal(answer.match(/HTTP\/1\.1 200 /g)?.length, 200);
  assert.equal(answer.match(/HTTP\/1\.1 429 /g)?.length, 1);
  assert.equal((await fetch(`${origin}/live`)).status, 429);
  const kubelet = { 'user-agent': 'kube-probe/1.34' };
  assert.equal((await fetch(`${origin}/live`, { headers: kubelet })).status, 200);
});

test('Of requests that are sent at once, one at a time is answered', async (t) => {
  let underWay = 0;
  let most = 0;
  const registry = createRegistry({ processMetrics: false });
  const clock = new ManualClock();
  const collect = async (): Promise<void> => {
    underWay += 1;
    most = Math.max(most, underWay);
    await new Promise(setImmediate);
    underWay -= 1;
    await clock.advance(1000);
  };
  registry.registerMetric(new Counter({ name: 'kiam_example_total', help: 'x', registers: [], collect }));
  const answer = await pipelined(await start(t, { registry, clock }), 'GET /metrics HTTP/1.1\r\n', 100);
  assert.equal(answer.match(/HTTP\/1\.1 200 /g)?.length, 101);
  assert.equal(most, 1);
});

test('An address that is taken is tried again until it is free, and the log says so once', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const address = holder.address();
  assert.ok(typeof address === 'object' && address !== null);
  const { logger, lines } = recordingLogger();
  const clock = new ManualClock();
  const listener = startMetricsListener({
    address: { host: '127.0.0.1', port: address.port },
    registry: createRegistry({ processMetrics: false }),
    readiness: () => [],
    logger,
    clock,
  });
  t.after(() => listener.close());
  while (lines.length === 0) await settle();
  await clock.advance(20_000);
  assert.equal(lines.length, 1);
  assert.equal(lines[0]?.level, 'warn');
  holder.close();
  await once(holder, 'close');
  await clock.advance(5000);
  assert.equal(await listener.listening, address.port);
});

test('A listener that is closed while its address is taken does not come back', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const address = holder.address();
  assert.ok(typeof address === 'object' && address !== null);
  const { logger, lines } = recordingLogger();
  const clock = new ManualClock();
  const listener = startMetricsListener({
    address: { host: '127.0.0.1', port: address.port },
    registry: createRegistry({ processMetrics: false }),
    readiness: () => [],
    logger,
    clock,
  });
  while (lines.length === 0) await settle();
  await listener.close();
  holder.close();
  await once(holder, 'close');
  await clock.advance(60_000);
  await assert.rejects(fetch(`http://127.0.0.1:${address.port}/live`));
});
