import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';

import type { HttpTimeouts } from '#agent/server-options.ts';
import { succeeded } from '#domain/failure.ts';

import {
  bodyOf,
  CREDENTIALS,
  listen,
  podRole,
  raw,
  rawGet,
  statusOf,
  testAgent,
  type TestAgentOptions,
} from './fixture.ts';

const SHORT: HttpTimeouts = { headersMs: 200, idleMs: 300, checkIntervalMs: 20 };
const NO_LIMIT = { perAddress: 100, inAll: 100, keptForNeighbours: 0, ratePerSecond: 0, burst: 0 };
const PING = 'GET /ping HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n';
const LAST = 'GET /ping HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n';

async function started(t: TestContext, options: TestAgentOptions = {}) {
  const agent = testAgent({ timeouts: SHORT, ...options });
  t.after(() => agent.app.close());
  return { ...agent, port: await listen(agent.app) };
}

async function open(port: number, localAddress: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

test('a pod is known by its source address, whatever its headers say', async (t) => {
  const { port, source } = await started(t);
  for (const address of ['127.0.1.1', '127.0.1.2']) {
    const request = [
      'GET /latest/meta-data/iam/security-credentials/?ip=127.0.9.9 HTTP/1.1',
      'Host: 169.254.169.254',
      'X-Forwarded-For: 127.0.9.9',
      'X-Real-IP: 127.0.9.9',
      'Forwarded: for=127.0.9.9',
      'True-Client-IP: 127.0.9.9',
      'Connection: close',
      '',
      '',
    ];
    assert.equal(statusOf(await raw(port, request.join('\r\n'), address)), 200);
  }
  assert.deepEqual(source.asked, ['role 127.0.1.1', 'role 127.0.1.2']);
});

test('a connection is told from the others of its pod by the moment at which it was accepted', async (t) => {
  const moments: number[] = [];
  const { port } = await started(t, {
    source: {
      podRole: ({ acceptedMs }) => {
        moments.push(acceptedMs);
        return Promise.resolve({ ok: true, value: podRole('reader') });
      },
    },
  });
  const list = 'GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\nHost: 169.254.169.254\r\n';
  const beforeMs = performance.now();
  await raw(port, `${list}\r\n${list}Connection: close\r\n\r\n`, '127.0.1.1');
  await raw(port, `${list}Connection: close\r\n\r\n`, '127.0.1.1');
  const [first = 0, second = 0, third = 0] = moments;
  assert.ok(beforeMs < first && first === second && second < third && third < performance.now(), String(moments));
});

test('an IPv4-mapped source address is the IPv4 address', async () => {
  const { app, source } = testAgent();
  await app.inject({ url: '/latest/meta-data/iam/security-credentials/', remoteAddress: '::ffff:127.0.1.1' });
  assert.deepEqual(source.asked, ['role 127.0.1.1']);
});

test('with --allow-ip-query the query names the client, and must name an address', async () => {
  const { app, source } = testAgent({ allowIpQuery: true });
  const path = '/latest/meta-data/iam/security-credentials/';
  await app.inject({ url: `${path}?ip=127.0.1.13` });
  await app.inject({ url: `${path}?x=1` });
  assert.equal((await app.inject({ url: `${path}?ip=nonsense` })).statusCode, 400);
  assert.deepEqual(source.asked, ['role 127.0.1.13', 'role 127.0.0.1']);
});

test('headers that never end are cut off', async (t) => {
  const { port } = await started(t);
  for (const beginning of ['', 'GET', 'GET /ping HTTP/1.1\r\nHost: 169.254.169.254\r\nX: ', `${PING}GET /pi`]) {
    const answer = await raw(port, beginning);
    assert.ok(answer === '' || answer.includes(' 408 ') || answer.includes('pong'), answer);
  }
});

test('an idle connection is closed, and so is one with a body that never comes', async (t) => {
  const { port } = await started(t);
  const beganMs = performance.now();
  assert.equal(bodyOf(await raw(port, PING)), 'pong');
  // fastify's own limit, which stands where ours is lost, is 72 seconds.
  assert.ok(performance.now() - beganMs < 36_000);
  const answer = await raw(port, 'GET /ping HTTP/1.1\r\nHost: 169.254.169.254\r\nContent-Length: 1000000\r\n\r\n');
  assert.equal(bodyOf(answer), 'pong');
  assert.match(answer, /connection: close/i);
});

test('a client that does not read is cut off', async (t) => {
  // Long answers, which the buffers of both ends cannot take many of.
  const credentials = { ...CREDENTIALS, token: 'x'.repeat(100_000) };
  const { port } = await started(t, { source: { podCredentials: () => Promise.resolve(succeeded(credentials)) } });
  const socket = await open(port, '127.0.0.1');
  socket.pause();
  const request =
    'GET /latest/meta-data/iam/security-credentials/reader HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n'.repeat(200);
  const pump = (): void => {
    while (!socket.destroyed && socket.write(request));
  };
  socket.on('drain', pump);
  const closed = new Promise((resolve) => {
    socket.on('close', resolve);
  });
  pump();
  await closed;
});

test('headers of more than 8 KiB are 431 in plain text', async (t) => {
  const { port } = await started(t);
  const answer = await raw(port, `GET /ping HTTP/1.1\r\nHost: 169.254.169.254\r\nX: ${'a'.repeat(9000)}\r\n\r\n`);
  assert.equal(statusOf(answer), 431);
  assert.match(answer, /content-type: text\/plain/i);
  assert.equal(bodyOf(answer), 'the headers are too long\n');
  assert.equal(statusOf(await rawGet(port, `/${'a'.repeat(9000)}`)), 431);
});

test('a role of nearly 8 KiB is asked for whole', async (t) => {
  const { port, source } = await started(t);
  const role = 'r'.repeat(8000);
  assert.equal(statusOf(await rawGet(port, `/latest/meta-data/iam/security-credentials/${role}`)), 403);
  assert.deepEqual(source.asked, [`credentials 127.0.0.1 ${role}`]);
});

test('what is no HTTP gets one line of plain text and is counted', async (t) => {
  const { port, registry } = await started(t);
  const answer = await raw(port, '\u0016\u0003\u0001 hello\r\n\r\n');
  assert.equal(statusOf(answer), 400);
  assert.equal(bodyOf(answer), 'malformed request\n');
  assert.match(await registry.metrics(), /kiam_metadata_refused_requests_total\{reason="malformed"\} 1/);
});

test('bad bytes behind a request that still waits do not break into its answer', async (t) => {
  let answer = (): void => {};
  const asked = new Promise<void>((resolveAsked) => {
    answer = resolveAsked;
  });
  const { port } = await started(t, {
    source: {
      podRole: (_client, signal) => {
        answer();
        return new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve({ ok: true, value: podRole('late') }));
        });
      },
    },
  });
  const socket = await open(port, '127.0.0.1');
  let received = '';
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString();
  });
  socket.write('GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n');
  await asked;
  socket.write('\u0000\u0000\r\n\r\n');
  await once(socket, 'close');
  assert.equal(received, '');
});

test('pipelined requests are answered in order', async (t) => {
  const { port } = await started(t);
  const list = 'GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n';
  const answer = await raw(port, `${list}${PING}${list}${LAST}`);
  assert.deepEqual(answer.match(/(?<=\r\n\r\n)(reader|pong)/g), ['reader', 'pong', 'reader', 'pong']);
});

test('a request to switch protocols is answered as if it had not asked, and the connection is closed', async (t) => {
  const { port } = await started(t);
  const answer = await raw(
    port,
    `GET /ping HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n${PING}`,
  );
  assert.equal(statusOf(answer), 200);
  assert.equal(answer.match(/pong/g)?.length, 1);
});

test('a token PUT with a small body is answered without reading it', async (t) => {
  const { port } = await started(t);
  const answer = await raw(
    port,
    'PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n' +
      'Content-Type: ;;nonsense\r\nContent-Length: 11\r\n\r\nhello=world',
  );
  assert.equal(statusOf(answer), 200);
  assert.match(answer, /connection: close/i);
});

test('one address may hold so many connections, and another is not touched by it', async (t) => {
  const { app, port, registry } = await started(t, {
    socketLimits: { ...NO_LIMIT, perAddress: 3 },
    timeouts: { ...SHORT, headersMs: 60_000, idleMs: 60_000 },
  });
  const held = await Promise.all([1, 2, 3].map(() => open(port, '127.0.1.1')));
  assert.equal(await raw(port, LAST, '127.0.1.1'), '');
  assert.equal(bodyOf(await raw(port, LAST, '127.0.1.2')), 'pong');
  assert.match(await registry.metrics(), /kiam_metadata_refused_requests_total\{reason="sockets"\} 1/);
  const closed = new Promise<void>((resolve) => {
    app.server.once('connection', (socket) => socket.once('close', resolve));
  });
  held[0]?.destroy();
  await raw(port, LAST, '127.0.1.2');
  await closed;
  assert.equal(bodyOf(await raw(port, LAST, '127.0.1.1')), 'pong');
  for (const socket of held) socket.destroy();
});

test('no more connections are held than the limit in all', async (t) => {
  const { port } = await started(t, {
    socketLimits: { ...NO_LIMIT, inAll: 2 },
    timeouts: { ...SHORT, headersMs: 60_000, idleMs: 60_000 },
  });
  const held = [await open(port, '127.0.1.1'), await open(port, '127.0.1.2')];
  assert.equal(await raw(port, LAST, '127.0.1.3'), '');
  for (const socket of held) socket.destroy();
});

test('while the agent closes, a request in flight is still answered', async (t) => {
  let answer = (_role: string): void => {};
  const { app, port } = await started(t, {
    source: {
      podRole: () =>
        new Promise((resolve) => {
          answer = (role) => resolve({ ok: true, value: podRole(role) });
          closing = app.close();
          setImmediate(() => answer('reader'));
        }),
    },
  });
  let closing: Promise<undefined> | undefined;
  const received = await rawGet(port, '/latest/meta-data/iam/security-credentials/');
  assert.equal(bodyOf(received), 'reader');
  await closing;
});
