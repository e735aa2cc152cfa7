import assert from 'node:assert/strict';
import test from 'node:test';

import { bodyOf, listen, raw, statusOf, testAgent } from './fixture.ts';

const LIST = '/latest/meta-data/iam/security-credentials/';

const ANSWERED = [
  ['the metadata address', '169.254.169.254'],
  ['the metadata address with a port', '169.254.169.254:80'],
  ['the IPv6 metadata address', '[fd00:ec2::254]'],
  ['another spelling of it, with a port', '[FD00:EC2:0::254]:80'],
  ['the address of the node that the client has connected to', '127.0.0.1:3100'],
  ['nothing', ''],
  ['the name of the loopback, from there', 'localhost:3100'],
] as const;

const REFUSED = [
  ['a name', 'rebound.example'],
  ['a name with a port', 'rebound.example:80'],
  ['a name that looks like the address', '169.254.169.254.rebound.example'],
  ['another address', '192.0.2.1'],
  ['another IPv6 address', '[2001:db8::1]'],
  ['the address as a number', '2852039166'],
  ['the address with credentials', 'x@169.254.169.254'],
  ['nonsense', '[169.254.169.254'],
] as const;

for (const [name, host] of ANSWERED) {
  test(`a request is answered whose Host is ${name}`, async (t) => {
    const { app } = testAgent();
    t.after(() => app.close());
    const answer = await raw(await listen(app), `GET ${LIST} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    assert.equal(statusOf(answer), 200);
    assert.equal(bodyOf(answer), 'reader');
  });
}

for (const [name, host] of REFUSED) {
  test(`a request is refused and counted whose Host, or whose target, is ${name}`, async (t) => {
    const { app, source, registry } = testAgent();
    t.after(() => app.close());
    const port = await listen(app);
    const requests = [
      `GET ${LIST} HTTP/1.1\r\nHost: ${host}\r\n`,
      `GET ${LIST}reader HTTP/1.1\r\nHost: ${host}\r\n`,
      `PUT /latest/api/token HTTP/1.1\r\nHost: ${host}\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n`,
      `GET http://${host}${LIST} HTTP/1.1\r\nHost: 169.254.169.254\r\n`,
    ];
    for (const request of requests) {
      assert.equal(statusOf(await raw(port, `${request}Connection: close\r\n\r\n`)), 403, request);
    }
    assert.deepEqual(source.asked, []);
    assert.match(await registry.metrics(), /kiam_metadata_refused_requests_total\{reason="host"\} 4$/m);
  });
}

test('HTTP/1.0 needs no Host, HTTP/1.1 does', async (t) => {
  const { app } = testAgent();
  t.after(() => app.close());
  const port = await listen(app);
  assert.equal(statusOf(await raw(port, `GET ${LIST} HTTP/1.0\r\n\r\n`)), 200);
  assert.equal(statusOf(await raw(port, `GET ${LIST} HTTP/1.1\r\n\r\n`)), 400);
});

test('the probes tell nothing of any pod, and are answered by any name', async (t) => {
  const { app } = testAgent();
  t.after(() => app.close());
  const port = await listen(app);
  for (const path of ['/ping', '/health']) {
    assert.equal(
      statusOf(await raw(port, `GET ${path} HTTP/1.1\r\nHost: node-1.example:3100\r\nConnection: close\r\n\r\n`)),
      200,
    );
  }
});
