import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatListenAddress, isLoopbackHost, parseListenAddress } from '#telemetry/listen-address.ts';

const ACCEPTED: readonly (readonly [string, string, number])[] = [
  [':9620', '', 9620],
  ['localhost:9620', 'localhost', 9620],
  ['0.0.0.0:9620', '0.0.0.0', 9620],
  ['[::]:9620', '::', 9620],
  ['[2001:db8::1]:65535', '2001:db8::1', 65_535],
  ['kiam-server.kube-system.svc:443', 'kiam-server.kube-system.svc', 443],
  ['127.0.0.1:0', '127.0.0.1', 0],
];

for (const [text, host, port] of ACCEPTED) {
  test(`${text} is a listen address and prints as it was given`, () => {
    const parsed = parseListenAddress(text);
    assert.deepEqual(parsed, { ok: true, address: { host, port } });
    assert.equal(formatListenAddress({ host, port }), text);
  });
}

const REFUSED = [
  '',
  '9620',
  'localhost',
  'localhost:',
  ':http',
  ':65536',
  ':-1',
  ':+1',
  ':1e3',
  '::1:80',
  '[::1]',
  '[x]:1',
];
const REFUSED_HOSTS = [
  '[127.0.0.1]:1',
  '1.2.3:1',
  '1.2.3.400:1',
  'a b:1',
  'a/b:1',
  '-a:1',
  'a:1\n',
  `${'a'.repeat(300)}:1`,
];

for (const text of [...REFUSED, ...REFUSED_HOSTS]) {
  test(`${JSON.stringify(text.slice(0, 20))} is no listen address`, () => {
    assert.equal(parseListenAddress(text).ok, false);
  });
}

test('Only addresses of this machine are loopback', () => {
  for (const host of ['localhost', '127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1'])
    assert.ok(isLoopbackHost(host), host);
  const others = [
    '',
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '127.evil.example',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
  ];
  for (const host of others) assert.ok(!isLoopbackHost(host), host);
});
