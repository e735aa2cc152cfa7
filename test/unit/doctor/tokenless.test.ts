import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import test from 'node:test';

import { checkTokenless } from '#doctor/node/tokenless.ts';
import { systemClock } from '#runtime/clock.ts';

const METRIC = 'kiam_metadata_tokenless_requests_total';
const TYPE = `# TYPE ${METRIC} counter\n`;

const CASES = [
  ['no pod', TYPE, 'ok', /no pod here has asked without a session token/],
  ['only counts of zero', `${TYPE}${METRIC}{namespace="a"} 0\n`, 'ok', /would refuse none/],
  [
    'several namespaces',
    `${TYPE}${METRIC}{namespace="a"} 3\n${METRIC}{namespace="b"} 12\n`,
    'ok',
    /by namespace: b \(12\), a \(3\)$/,
  ],
  [
    'many namespaces',
    TYPE + Array.from({ length: 8 }, (_, n) => `${METRIC}{namespace="n${n}"} ${10 - n}\n`).join(''),
    'ok',
    /n0 \(10\), n1 \(9\), n2 \(8\), n3 \(7\), n4 \(6\) and 3 more$/,
  ],
  ['a daemon without the metric', 'up 1\n', 'cannot tell', /have no kiam_metadata_tokenless_requests_total/],
] as const;

for (const [name, metrics, verdict, says] of CASES) {
  test(`what the metrics say of tokenless requests is told in a line: ${name}`, async (t) => {
    const server = createServer((_request, response) => response.end(metrics)).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const [found, ...others] = await checkTokenless({
      address: { host: '127.0.0.1', port: address.port },
      clock: systemClock,
      signal: new AbortController().signal,
    });
    assert.deepEqual(others, []);
    assert.equal(found?.verdict, verdict);
    assert.match(found?.says ?? '', says);
  });
}
