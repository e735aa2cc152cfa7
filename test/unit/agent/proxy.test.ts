import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import test, { after, before } from 'node:test';

import { createMetadataClient } from '#metadata/client.ts';
import { systemClock } from '#runtime/clock.ts';

import { fakeMetadata, listen, metadataAnswer, raw, rawGet, statusOf, testAgent, bodyOf } from './fixture.ts';

/** What the stand-in for the metadata service was asked, tokens apart. */
const seen: {
  method: string | undefined;
  url: string | undefined;
  headers: IncomingMessage['headers'];
  bodyLength: number;
}[] = [];
const service = createServer((request, response) => {
  if (request.method === 'PUT') {
    response.setHeader('x-aws-ec2-metadata-token-ttl-seconds', '21600').end('REAL-TOKEN');
    return;
  }
  let bodyLength = 0;
  request.on('data', (chunk: Buffer) => {
    bodyLength += chunk.length;
  });
  request.on('end', () => {
    seen.push({ method: request.method, url: request.url, headers: request.headers, bodyLength });
    response
      .setHeader('content-type', 'text/plain')
      .setHeader('set-cookie', 'x=y')
      .setHeader('location', '/x')
      .end('real');
  });
});

let agent: ReturnType<typeof testAgent>;
let port = 0;
/** The same, with the time-outs that it has in earnest. */
let patient: ReturnType<typeof testAgent>;
let patientPort = 0;
const expression = '^/latest/(meta-data|dynamic|user-data|x)|iam';

before(async () => {
  service.listen(0, '127.0.0.1');
  await once(service, 'listening');
  const address = service.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const client = createMetadataClient({ endpoint: `http://127.0.0.1:${address.port}`, clock: systemClock });
  const metadata = Object.assign(fakeMetadata(), client);
  const timeouts = { headersMs: 300, idleMs: 300, checkIntervalMs: 50 };
  agent = testAgent({ allow: expression, timeouts, metadata });
  port = await listen(agent.app);
  patient = testAgent({ allow: expression, metadata });
  patientPort = await listen(patient.app);
});

after(async () => {
  await Promise.all([agent.app.close(), patient.app.close()]);
  service.closeAllConnections();
  service.close();
});

/** What the service may see: plain characters, canonical, found by the expression, and nothing of the node's identity. */
function assertHarmless(): void {
  for (const { method, url = '', bodyLength } of seen) {
    assert.equal(method, 'GET');
    assert.equal(bodyLength, 0);
    assert.match(url, /^\/latest\/(meta-data|dynamic|user-data|x)[A-Za-z0-9._~:@=,+/-]*$/);
    assert.doesNotMatch(url, /\/\/|\/\.\.?(\/|$)/);
    assert.doesNotMatch(url, /\/(iam|identity-credentials|security-credentials)/i);
  }
}

test("a proxied request has the path, the agent's own token and nothing else of the client but what is listed", async () => {
  seen.length = 0;
  const answer = await raw(
    port,
    [
      'GET /latest//meta-data/./instance-id?a=b HTTP/1.1',
      'Host: 169.254.169.254:80',
      'Accept: text/plain',
      'X-Forwarded-For: 192.0.2.1',
      'X-aws-ec2-metadata-token: mine',
      'X-aws-ec2-metadata-token-ttl-seconds: 60',
      'Authorization: Basic eDp5',
      'Cookie: a=b',
      'Connection: close, X-Aws-Ec2-Metadata-Token',
      'Transfer-Encoding: chunked',
      '',
      '5\r\nhello\r\n0\r\n\r\n',
    ].join('\r\n'),
  );
  assert.equal(statusOf(answer), 200, answer);
  assert.equal(bodyOf(answer), 'real');
  assert.doesNotMatch(answer, /set-cookie|location/i);
  assert.equal(seen.length, 1);
  assert.equal(seen[0]?.url, '/latest/meta-data/instance-id?a=b');
  const { host, ...headers } = seen[0]?.headers ?? {};
  assert.match(host ?? '', /^127\.0\.0\.1:\d+$/);
  assert.deepEqual(headers, {
    accept: 'text/plain',
    connection: 'keep-alive',
    'x-aws-ec2-metadata-token': 'REAL-TOKEN',
  });
});

/** Every spelling of what leads to the node's identity that is made of these parts, each put together in many ways. */
function corpus(): string[] {
  const forbidden = [
    'iam/security-credentials/node-role',
    'iam/security-credentials-extended/node-role',
    'identity-credentials/ec2/security-credentials/ec2-instance',
    'iam',
    'iam/',
  ];
  const spellings: ((path: string) => string)[] = [
    (path) => path,
    (path) => path.toUpperCase(),
    (path) => path.replaceAll('/', '//'),
    (path) => path.replaceAll('/', '/./'),
    (path) => path.replaceAll('/', '/x/../'),
    (path) => path.replaceAll('/', '%2f'),
    (path) => path.replaceAll('/', '%2F%2F'),
    (path) => path.replaceAll('/', '%252f'),
    (path) => path.replaceAll('/', '%25252f'),
    (path) => path.replaceAll('/', '\\'),
    (path) => path.replaceAll('/', '%5c'),
    (path) => path.replaceAll('/', ';/'),
    (path) => path.replaceAll('/', ';a=b/'),
    (path) => path.replaceAll('/', '%3b/'),
    (path) => path.replaceAll('/', '%00/'),
    (path) => path.replaceAll('/', '%c0%af'),
    (path) => path.replaceAll('/', '%e0%80%af'),
    (path) => path.replaceAll('/', '%ef%bc%8f'),
    (path) => path.replaceAll('/', '\u00e2\u0088\u0095'),
    (path) => path.replaceAll('i', '%69'),
    (path) => path.replaceAll('i', '%49'),
    (path) => path.replaceAll('i', '%2569'),
    (path) => path.replaceAll('i', '%c4%b1'),
    (path) => path.replaceAll('i', '%c1%a9'),
    (path) => path.replaceAll('i', '\u00ef\u00bd\u0089'),
    (path) => path.replaceAll('-', '%2d'),
    (path) => path.replaceAll('-', '%u002d'),
    (path) => `${path}%20`,
    (path) => `${path}.`,
    (path) => `${path}%2e`,
    (path) => `${path}?x=/latest/x`,
    (path) => `${path}%3fx=y`,
    (path) => `${path}#/latest/x`,
    (path) => `${path}%23`,
    (path) => `${path}/..;/`,
    (path) => `x/../${path}`,
    (path) => `x%2f..%2f${path}`,
    (path) => `x/%2e%2e/${path}`,
    (path) => `x/.%2e/${path}`,
    (path) => `x/%252e%252e/${path}`,
    (path) => `x/..%00/${path}`,
    (path) => `x/..;/${path}`,
    (path) => `x/%c0%ae%c0%ae/${path}`,
    (path) => `instance-id%0d%0aGET%20/latest/meta-data/${path}`,
    (path) => `instance-id%20HTTP/1.1%0d%0a%0d%0aGET%20/latest/meta-data/${path}`,
    (path) => `*/${path}`,
    (path) => `%2a/${path}`,
  ];
  const bases = [
    (path: string) => `/latest/meta-data/${path}`,
    (path: string) => `/latest/x/../meta-data/${path}`,
    (path: string) => `http://169.254.169.254/latest/meta-data/${path}`,
    (path: string) => `//latest/meta-data/${path}`,
    (path: string) => `/latest/dynamic/../%6deta-data/${path}`,
  ];
  return bases.flatMap((base) => spellings.flatMap((spell) => forbidden.map((path) => base(spell(path)))));
}

test("no spelling of a path to the node's identity reaches the metadata service", async (t) => {
  seen.length = 0;
  const targets = corpus();
  assert.ok(targets.length >= 400);
  const queue = [...targets];
  const work = async (): Promise<void> => {
    for (let target = queue.pop(); target !== undefined; target = queue.pop()) {
      const status = statusOf(await rawGet(patientPort, target));
      // Credentials of the pod itself, a refusal, or what the service said about a harmless neighbour; a busy machine may be
      // too slow for the proxy's second (503, 504).
      assert.ok([200, 400, 403, 404, 503, 504].includes(status), `${target}: ${status}`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
  assertHarmless();
  t.diagnostic(
    `${targets.length} spellings, ${new Set(targets).size} of them different; ${seen.length} reached the service as something harmless`,
  );
});

test('allowed paths do reach the service, each in its one form', async () => {
  seen.length = 0;
  for (const target of ['/latest/meta-data/', '/latest/%6deta-data/placement%2fregion', '/latest//dynamic/x/..']) {
    assert.equal(statusOf(await rawGet(port, target)), 200);
  }
  assert.deepEqual(
    seen.map(({ url }) => url),
    ['/latest/meta-data/', '/latest/meta-data/placement/region', '/latest/dynamic'],
  );
});

const HIDDEN = 'GET /latest/meta-data/iam/security-credentials-extended/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n';
const SMUGGLING: readonly (readonly [string, string])[] = [
  ['content-length and transfer-encoding', `Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`],
  ['transfer-encoding and content-length', `Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${HIDDEN}`],
  ['two content-lengths', `Content-Length: 0\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['two transfer-encodings', `Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${HIDDEN}`],
  ['an unknown transfer-encoding', `Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${HIDDEN}`],
  ['a tab before chunked', `Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n${HIDDEN}`],
  ['a vertical tab before chunked', `Transfer-Encoding: \u000bchunked\r\n\r\n0\r\n\r\n${HIDDEN}`],
  ['a space before the colon', `Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${HIDDEN}`],
  ['a folded header', `X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`],
  ['a signed content-length', `Content-Length: +${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['a hexadecimal content-length', `Content-Length: 0x10\r\n\r\n${HIDDEN}`],
  ['a body on a GET', `Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['a chunked body', `Transfer-Encoding: chunked\r\n\r\n${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`],
  ['a chunk extension', `Transfer-Encoding: chunked\r\n\r\n0;x=\n\r\n\r\n${HIDDEN}`],
  ['a bad chunk size', `Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n${HIDDEN}`],
  ['trailers', `Transfer-Encoding: chunked\r\n\r\n0\r\nX-aws-ec2-metadata-token: x\r\n\r\n${HIDDEN}`],
  ['bare line feeds', `X: y\n\n${HIDDEN}`],
  ['a bare carriage return', `X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`],
  ['NUL in a header', `X: a\u0000b\r\n\r\n${HIDDEN}`],
  ['an upgrade', `Connection: upgrade\r\nUpgrade: websocket\r\n\r\n${HIDDEN}`],
  [
    'an upgrade to HTTP/2',
    `Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n${HIDDEN}`,
  ],
  ['an expectation', `Expect: 100-continue\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['another host', `Host: 169.254.169.254\r\n\r\n${HIDDEN}`],
  ['a pipelined request', `\r\n${HIDDEN}`],
];

for (const [what, tail] of SMUGGLING) {
  test(`a request with ${what} smuggles nothing to the metadata service`, async () => {
    seen.length = 0;
    for (const target of ['/latest/meta-data/instance-id', '/latest/x']) {
      const closing = 'GET /ping HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n';
      await raw(port, Buffer.from(`GET ${target} HTTP/1.1\r\nHost: 169.254.169.254\r\n${tail}${closing}`, 'latin1'));
    }
    assertHarmless();
    assert.ok(seen.length <= 2);
  });
}

for (const first of [
  'CONNECT 169.254.169.254:80 HTTP/1.1',
  'GET /latest/x',
  'GET  /latest/x HTTP/1.1',
  'GET /latest/x HTTP/2.0',
  'PRI * HTTP/2.0',
  '\u0016\u0003\u0001',
  'GET /latest/x HTTP/1.1 x',
]) {
  test(`${JSON.stringify(first)} as the first line smuggles nothing`, async () => {
    seen.length = 0;
    await raw(
      port,
      `${first}\r\nHost: 169.254.169.254\r\n\r\n${HIDDEN}GET /ping HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n`,
    );
    assertHarmless();
  });
}

for (const query of ['a=%2e', 'a=;', 'a b', "a='", 'a=\\', 'a={}']) {
  test(`the query ${query} is not sent on`, async () => {
    seen.length = 0;
    assert.equal(statusOf(await rawGet(port, `/latest/meta-data/?${query}`)), 400);
    assert.deepEqual(seen, []);
  });
}

for (const [outcome, status, body] of [
  [metadataAnswer(404, 'none'), 404, 'none'],
  [metadataAnswer(304, ''), 304, ''],
  [metadataAnswer(401, 'no'), 502, 'metadata service: it refused the token\n'],
  [metadataAnswer(99, 'no'), 502, 'metadata service: it gave no valid answer\n'],
  [{ ok: false, reason: 'timed out', message: 'slow' }, 504, 'metadata service: slow\n'],
  [{ ok: false, reason: 'unreachable', message: 'gone' }, 502, 'metadata service: gone\n'],
  [{ ok: false, reason: 'too large', message: 'big' }, 502, 'metadata service: big\n'],
  [{ ok: false, reason: 'busy', message: 'full' }, 503, 'metadata service: full\n'],
] as const) {
  test(`${JSON.stringify(body)} from the metadata service is answered with ${status}`, async () => {
    const { app } = testAgent({ allow: '.', metadata: fakeMetadata(() => outcome) });
    const answer = await app.inject({ url: '/latest/meta-data/' });
    assert.equal(answer.statusCode, status);
    assert.equal(answer.body, body);
  });
}
