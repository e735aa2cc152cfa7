import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import test, { type TestContext } from 'node:test';

import type { MetadataOutcome } from '#metadata/answer.ts';
import { createMetadataClient, type MetadataClient, type MetadataClientOptions } from '#metadata/client.ts';
import type { Clock } from '#runtime/clock.ts';
import { systemClock } from '#runtime/clock.ts';

import { ManualClock, settle } from '../../support/manual-clock.ts';

const signal = new AbortController().signal;

interface Service {
  readonly client: MetadataClient;
  readonly seen: string[];
}

/** A stand-in for the metadata service, asked through a client; `seen` has method, target and token of each request. */
async function service(
  t: TestContext,
  answer: RequestListener,
  clock: Clock = systemClock,
  more: Partial<MetadataClientOptions> = {},
): Promise<Service> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${String(request.headers['x-aws-ec2-metadata-token'] ?? '-')}`);
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const client = createMetadataClient({ endpoint: `http://127.0.0.1:${address.port}`, clock, ...more });
  t.after(() => {
    client.close();
    server.closeAllConnections();
    server.close();
  });
  return { client, seen };
}

/** Issues tokens T1, T2, …; the rest is for `answer`. */
function withTokens(answer: RequestListener, ttlSeconds = 21_600): RequestListener {
  let issued = 0;
  return (request: IncomingMessage, response: ServerResponse) => {
    if (request.method !== 'PUT') {
      answer(request, response);
      return;
    }
    issued += 1;
    assert.equal(request.headers['x-aws-ec2-metadata-token-ttl-seconds'], '21600');
    response.setHeader('x-aws-ec2-metadata-token-ttl-seconds', String(ttlSeconds)).end(`T${issued}`);
  };
}

function textOf(outcome: MetadataOutcome): string {
  return outcome.ok ? `${outcome.answer.status} ${outcome.answer.body.toString()}` : outcome.reason;
}

test('one token serves all who ask at once and later', async (t) => {
  const { client, seen } = await service(
    t,
    withTokens((_request, response) => response.end('i-1')),
  );
  const answers = await Promise.all([client.get('/a', { signal }), client.get('/b', { signal })]);
  answers.push(await client.get('/c', { signal, query: 'x=y' }));
  assert.deepEqual(answers.map(textOf), ['200 i-1', '200 i-1', '200 i-1']);
  assert.deepEqual(seen.toSorted(), ['GET /a T1', 'GET /b T1', 'GET /c?x=y T1', 'PUT /latest/api/token -']);
});

test('a token is replaced shortly before it ends', async (t) => {
  const clock = new ManualClock();
  const { client, seen } = await service(
    t,
    withTokens((_request, response) => response.end()),
    clock,
  );
  await client.get('/a', { signal });
  await clock.advance(21_600_000 - 300_001);
  await client.get('/b', { signal });
  await clock.advance(1);
  await client.get('/c', { signal });
  assert.deepEqual(
    seen.filter((line) => line.startsWith('GET')),
    ['GET /a T1', 'GET /b T1', 'GET /c T2'],
  );
});

test('a refused token is renewed once', async (t) => {
  const { client, seen } = await service(
    t,
    withTokens((request, response) => {
      response.statusCode = request.headers['x-aws-ec2-metadata-token'] === 'T1' ? 401 : 200;
      response.end('x');
    }),
  );
  assert.equal(textOf(await client.get('/a', { signal })), '200 x');
  assert.deepEqual(seen, ['PUT /latest/api/token -', 'GET /a T1', 'PUT /latest/api/token -', 'GET /a T2']);
});

test('a service that refuses every token is asked twice and no more', async (t) => {
  const { client, seen } = await service(
    t,
    withTokens((_request, response) => {
      response.statusCode = 401;
      response.end();
    }),
  );
  assert.equal(textOf(await client.get('/a', { signal })), '401 ');
  assert.equal(seen.length, 4);
});

for (const status of [403, 404, 405]) {
  test(`a service that answers ${status} to the token is read by version 1, and asked again later`, async (t) => {
    const clock = new ManualClock();
    const { client, seen } = await service(
      t,
      (request, response) => {
        response.statusCode = request.method === 'PUT' ? status : 200;
        response.end('x');
      },
      clock,
    );
    assert.equal(textOf(await client.get('/a', { signal })), '200 x');
    assert.equal(textOf(await client.get('/b', { signal })), '200 x');
    assert.deepEqual(seen, ['PUT /latest/api/token -', 'GET /a -', 'GET /b -']);
    await clock.advance(300_000);
    await client.get('/c', { signal });
    assert.equal(seen.length, 5);
  });
}

for (const [what, status, body] of [
  ['500', 500, ''],
  ['400', 400, ''],
  ['an empty token', 200, ''],
  ['a token with a line feed', 200, 'a\nb'],
  ['a page', 200, 'x'.repeat(5000)],
] as const) {
  test(`a service that answers the token with ${what} is not read`, async (t) => {
    const { client, seen } = await service(t, (_request, response) => {
      response.statusCode = status;
      response.end(body);
    });
    assert.equal(textOf(await client.get('/a', { signal })), 'token refused');
    assert.deepEqual(seen, ['PUT /latest/api/token -']);
  });
}

test('a redirect is an answer and is not followed', async (t) => {
  const { client, seen } = await service(
    t,
    withTokens((_request, response) => {
      response.writeHead(302, { location: '/elsewhere' }).end();
    }),
  );
  assert.equal(textOf(await client.get('/a', { signal })), '302 ');
  assert.equal(seen.length, 2);
});

test('an answer of 1 MiB is read, a longer one is not', async (t) => {
  const { client } = await service(
    t,
    withTokens((request, response) => response.end(Buffer.alloc(1024 * 1024 + (request.url === '/long' ? 1 : 0)))),
  );
  const fits = await client.get('/fits', { signal });
  assert.equal(fits.ok && fits.answer.body.length, 1024 * 1024);
  assert.equal(textOf(await client.get('/long', { signal })), 'too large');
});

for (const [what, answer] of [
  ['never answers', () => {}],
  ['never ends its answer', (_request: IncomingMessage, response: ServerResponse) => response.write('x')],
] as const) {
  test(`a service that ${what} is given up after the limit`, async (t) => {
    const clock = new ManualClock();
    const { client, seen } = await service(t, withTokens(answer), clock);
    const asked = client.get('/a', { signal });
    while (seen.length < 2) await settle();
    await clock.advance(1000);
    assert.equal(textOf(await asked), 'timed out');
  });
}

test('a token that does not come is given up after the limit, too', async (t) => {
  const clock = new ManualClock();
  const { client, seen } = await service(t, () => {}, clock);
  const asked = client.get('/a', { signal });
  while (seen.length < 1) await settle();
  await clock.advance(1000);
  assert.equal(textOf(await asked), 'timed out');
});

/** Answers every request but those for a token. */
function withoutTokens(answer: RequestListener): RequestListener {
  return (request, response) => {
    if (request.method !== 'PUT') answer(request, response);
  };
}

test('a client that may read without a token does so after half of its time, and asks for one again later', async (t) => {
  const clock = new ManualClock();
  const answer = withoutTokens((_request, response) => response.end('x'));
  const { client, seen } = await service(t, answer, clock, { readsWithoutToken: true });
  const first = client.get('/a', { signal });
  while (seen.length < 1) await settle();
  await clock.advance(500);
  assert.equal(textOf(await first), '200 x');
  assert.equal(textOf(await client.get('/b', { signal })), '200 x');
  assert.deepEqual(seen, ['PUT /latest/api/token -', 'GET /a -', 'GET /b -']);
  await clock.advance(300_000);
  const later = client.get('/c', { signal });
  while (seen.length < 4) await settle();
  await clock.advance(500);
  assert.equal(textOf(await later), '200 x');
  assert.deepEqual(seen.slice(3), ['PUT /latest/api/token -', 'GET /c -']);
});

test('a service that demands a token which never comes is asked for one at every read', async (t) => {
  const clock = new ManualClock();
  const answer = withoutTokens((_request, response) => response.writeHead(401).end());
  const { client, seen } = await service(t, answer, clock, { readsWithoutToken: true });
  for (const path of ['/a', '/b']) {
    const before = seen.length;
    const asked = client.get(path, { signal });
    while (seen.length === before) await settle();
    await clock.advance(500);
    const outcome = await asked;
    assert.equal(outcome.ok ? '' : outcome.reason, 'no token');
    assert.match(outcome.ok ? '' : outcome.message, /HttpTokens=required.*hop limit is 1/);
  }
  assert.deepEqual(seen, ['PUT /latest/api/token -', 'GET /a -', 'PUT /latest/api/token -', 'GET /b -']);
});

test('a client that may not read without a token does not, however long a token takes', async (t) => {
  const clock = new ManualClock();
  const { client, seen } = await service(
    t,
    withoutTokens((_request, response) => response.end('x')),
    clock,
  );
  for (const path of ['/a', '/b']) {
    const before = seen.length;
    const asked = client.get(path, { signal });
    while (seen.length === before) await settle();
    await clock.advance(1000);
    assert.equal(textOf(await asked), 'timed out');
  }
  assert.deepEqual(seen, ['PUT /latest/api/token -', 'PUT /latest/api/token -']);
});

test('a caller that goes away ends its own question and nobody else waits less for the token', async (t) => {
  let giveToken = (): void => {};
  const { client, seen } = await service(t, (request, response) => {
    if (request.method === 'PUT') giveToken = () => response.end('T1');
    else response.end('x');
  });
  const leaving = new AbortController();
  const left = client.get('/left', { signal: leaving.signal });
  const stays = client.get('/stays', { signal });
  while (seen.length < 1) await settle();
  leaving.abort();
  assert.equal(textOf(await left), 'cancelled');
  giveToken();
  assert.equal(textOf(await stays), '200 x');
});

test('an answer that is cut short is no answer', async (t) => {
  const { client } = await service(
    t,
    withTokens((_request, response) => {
      response.writeHead(200, { 'content-length': '10' });
      response.write('abc', () => response.destroy());
    }),
  );
  assert.equal(textOf(await client.get('/a', { signal })), 'unreachable');
});

test('a service that nobody is, or that speaks no HTTP, or switches protocols, is unreachable', async (t) => {
  for (const bytes of [
    undefined,
    'nonsense\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
  ]) {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {});
      if (bytes === undefined) socket.destroy();
      else socket.end(bytes);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert.ok(address !== null && typeof address === 'object');
    const client = createMetadataClient({ endpoint: `http://127.0.0.1:${address.port}`, clock: systemClock });
    t.after(() => {
      client.close();
      server.close();
    });
    assert.equal(textOf(await client.get('/a', { signal })), 'unreachable');
  }
});

test('too many questions at once are refused, not queued', async (t) => {
  const answers: (() => void)[] = [];
  const { client } = await service(
    t,
    withTokens((_request, response) => {
      answers.push(() => response.end('x'));
    }),
  );
  const asked = Array.from({ length: 64 }, () => client.get('/a', { signal }));
  assert.equal(textOf(await client.get('/a', { signal })), 'busy');
  let answered = 0;
  const all = Promise.all(
    asked.map(async (question) => {
      const outcome = await question;
      answered += 1;
      return outcome;
    }),
  );
  for (; answered < asked.length; await settle()) {
    for (const answer of answers.splice(0)) answer();
  }
  assert.ok((await all).every((outcome) => textOf(outcome) === '200 x'));
});

test('a header that cannot be written is a failure, not an exception', async (t) => {
  const { client } = await service(
    t,
    withTokens((_request, response) => response.end()),
  );
  assert.equal(textOf(await client.get('/a', { signal, headers: { accept: 'a\nb' } })), 'unreachable');
  assert.equal(textOf(await client.get('/a b', { signal })), 'unreachable');
});
