import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import test, { type TestContext } from 'node:test';

import { succeeded } from '#domain/failure.ts';

import { until } from '../../support/until.ts';
import { listen, podRole, raw, statusOf, testAgent, type TestAgentOptions } from './fixture.ts';

const HOST = 'Host: 169.254.169.254\r\n';
const LIST = `GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\n${HOST}\r\n`;
const PING = `GET /ping HTTP/1.1\r\n${HOST}\r\n`;
const LAST = `GET /ping HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;

async function started(t: TestContext, options: TestAgentOptions = {}) {
  const agent = testAgent(options);
  t.after(() => agent.app.close());
  /** The most requests that were parsed in one turn of the event loop. */
  let parsed = 0;
  let most = 0;
  const port = await listen(agent.app);
  agent.app.server.prependListener('request', () => {
    parsed += 1;
    most = Math.max(most, parsed);
    if (parsed === 1) setImmediate(() => (parsed = 0));
  });
  return { ...agent, port, mostInATurn: () => most };
}

/** A source whose answers take a turn or more, and that remembers how many were in progress at once. */
function slowSource() {
  let underWay = 0;
  const seen = { most: 0, asked: 0 };
  return {
    seen,
    podRole: async () => {
      underWay += 1;
      seen.asked += 1;
      seen.most = Math.max(seen.most, underWay);
      await new Promise(setImmediate);
      underWay -= 1;
      return succeeded(podRole('reader'));
    },
  };
}

test('of many requests that are sent at once, one at a time is answered, and each in its turn', async (t) => {
  const source = slowSource();
  const { port, mostInATurn } = await started(t, { source });
  const answer = await raw(port, `${`${LIST}${PING}`.repeat(1500)}${LAST}`);
  const bodies = answer.match(/(?<=\r\n\r\n)(reader|pong)/g) ?? [];
  assert.equal(bodies.length, 3001);
  assert.deepEqual(bodies.slice(0, 4), ['reader', 'pong', 'reader', 'pong']);
  assert.equal(source.seen.most, 1);
  assert.ok(mostInATurn() <= 2, String(mostInATurn()));
});

test('requests that come in pieces of any length are understood as if each had come alone', async (t) => {
  const source = slowSource();
  const { port } = await started(t, { source });
  const bytes = Buffer.from(`${`${LIST}${PING}`.repeat(10)}${LAST}`);
  for (const length of [1, 7, 100, 333]) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
    });
    for (let at = 0; at < bytes.length; at += length) {
      socket.write(bytes.subarray(at, at + length));
      if (at % (5 * length) === 0) await new Promise(setImmediate);
    }
    await once(socket, 'close');
    assert.equal(received.match(/(?<=\r\n\r\n)(reader|pong)/g)?.length, 21, `pieces of ${length}`);
  }
  assert.equal(source.seen.most, 1);
});

test('a client that sends and never reads has one answer in progress, and what it sends is left in its socket', async (t) => {
  const { port, registry, mostInATurn } = await started(t);
  const socket = connect({ port, host: '127.0.0.1' });
  t.after(() => socket.destroy());
  socket.on('error', () => {}).pause();
  const requests = Buffer.from(
    `GET /latest/meta-data/iam/security-credentials/reader HTTP/1.1\r\n${HOST}\r\n`.repeat(2000),
  );
  await until(() => !socket.write(requests) && socket.writableLength > 4 * requests.length, 'the client waits');
  assert.ok(mostInATurn() <= 2, String(mostInATurn()));
  assert.match(await registry.metrics(), /kiam_metadata_success_total/);
});

for (const [name, request, status] of [
  ['without a Host header', 'GET /ping HTTP/1.1\r\n\r\n', 400],
  ['with an expectation that is not met', `GET /ping HTTP/1.1\r\n${HOST}Expect: x\r\n\r\n`, 417],
  ['with a target that is not understood', `GET /%zz HTTP/1.1\r\n${HOST}\r\n`, 400],
] as const) {
  test(`requests ${name} are parsed one at a time as well`, async (t) => {
    const { port, mostInATurn } = await started(t);
    const answer = await raw(port, `${request.repeat(2000)}${LAST}`);
    assert.equal(statusOf(answer), status);
    assert.ok(mostInATurn() <= 2, String(mostInATurn()));
  });
}

test('nothing is parsed of a body, however many chunks it has', async (t) => {
  const { port, app } = await started(t);
  const chunks: number[] = [];
  app.server.prependListener('request', (request) => {
    const push = request.push.bind(request);
    request.push = (chunk, encoding) => {
      chunks.push(1);
      return push(chunk, encoding);
    };
  });
  const answer = await raw(
    port,
    `PUT /latest/api/token HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(5000)}`,
  );
  assert.equal(statusOf(answer), 400);
  assert.deepEqual(chunks, []);
});

test('the connection of a pod over its rate is closed, and what it sent beyond is not looked at', async (t) => {
  const { port, registry } = await started(t, { podLimits: { concurrency: 0, ratePerSecond: 1, burst: 3 } });
  const answer = await raw(port, PING.repeat(1000));
  assert.equal(answer.match(/pong/g)?.length, 3);
  assert.equal(answer.match(/HTTP\/1\.1 429/g)?.length, 1);
  assert.match(answer, /connection: close/i);
  assert.match(await registry.metrics(), /kiam_metadata_refused_requests_total\{reason="rate"\} 1$/m);
});
