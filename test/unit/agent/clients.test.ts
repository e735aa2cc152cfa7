import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';

import { CLIENTS, type ClientRequest, clientsPage } from '../../support/clients-page.ts';
import { readSdkResults } from '../../support/sdk-results.ts';
import { bodyOf, listen, raw, statusOf, testAgent } from './fixture.ts';

type App = ReturnType<typeof testAgent>['app'];

/** Sends a client's requests in their order, each with the token that came before it. */
async function replay(app: App, requests: readonly ClientRequest[], statusWanted: (request: ClientRequest) => number) {
  let token = '';
  for (const request of requests) {
    const { method, path, headers = {}, hasToken = false } = request;
    const { host, ...others } = headers;
    const answer = await app.inject({
      method,
      url: path,
      ...(host === undefined ? {} : { authority: host }),
      headers: { ...others, ...(hasToken ? { 'x-aws-ec2-metadata-token': token } : {}) },
    });
    assert.equal(answer.statusCode, statusWanted(request), `${method} ${path}: ${answer.body}`);
    if (method === 'PUT') token = answer.body;
  }
}

for (const { name, requests } of CLIENTS) {
  test(`the first requests of a client are answered as docs/clients.md says: ${name}`, async () => {
    await replay(testAgent().app, requests, ({ status }) => status);
    const strict = testAgent({ requireImdsv2: true }).app;
    await replay(strict, requests, ({ status, strictStatus }) => strictStatus ?? status);
  });
}

test('by what was measured every client is served until 800 ms, nearly all until 1,500, most until 3,000, none worse than with Kiam', () => {
  const all = Object.entries(readSdkResults());
  assert.ok(all.length >= 19);
  const servedAt = (ms: number): number => all.filter(([, { known }]) => known?.[ms]?.served === true).length;
  for (const ms of [300, 800]) assert.equal(servedAt(ms), all.length, `${ms} ms`);
  assert.ok(servedAt(1500) >= 17 && servedAt(3000) >= 14);
  for (const [sdk, { known, kiam = {} }] of all)
    for (const [ms, { served }] of Object.entries(kiam))
      assert.ok(!served || known?.[ms]?.served === true, `${sdk}, known after ${ms} ms`);
});

test('the first requests of docs/clients.md are those that the clients of `npm run test:sdks` were seen to make', () => {
  for (const [sdk, { asked = [] }] of Object.entries(readSdkResults())) {
    const client = CLIENTS.find(({ seen = [] }) => seen.includes(sdk)) ?? assert.fail(`${sdk} is not in the list`);
    assert.deepEqual(
      asked,
      client.requests.map(({ method, path }) => `${method} ${path}`),
      sdk,
    );
  }
});

test('docs/clients.md is what `npm run docs` writes', async () => {
  const page = await readFile(new URL('../../../docs/clients.md', import.meta.url), 'utf8');
  assert.equal(page, clientsPage(readSdkResults()));
});

test('a PUT that expects a 100 gets it, and its token; another expectation is 417', async (t) => {
  const { app } = testAgent();
  t.after(() => app.close());
  const port = await listen(app);
  const request = (expect: string): string =>
    [
      'PUT /latest/api/token HTTP/1.1',
      'Host: 169.254.169.254',
      'X-aws-ec2-metadata-token-ttl-seconds: 60',
      `Expect: ${expect}`,
      'Connection: close',
      '',
      '',
    ].join('\r\n');
  const answer = await raw(port, request('100-continue'));
  assert.match(answer, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
  assert.match(bodyOf(answer.slice(answer.indexOf('\r\n\r\n') + 4)), /^[A-Za-z0-9_-]{52}$/);
  assert.equal(statusOf(await raw(port, request('something'))), 417);
});
