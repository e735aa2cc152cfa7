import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';

import fc from 'fast-check';

import { CREDENTIALS_TEXT, testAgent } from '../unit/agent/fixture.ts';
import { STALL_MS } from './within.ts';

const CREDENTIALS_PATH = '/latest/meta-data/iam/security-credentials/reader';
const PROXIED_PATH = '/latest/meta-data/instance-id';
const FORWARDED = 'x-forwarded-for';
const TTL = 'x-aws-ec2-metadata-token-ttl-seconds';

const agent = testAgent({ allow: '.*' });

const name = fc.oneof(
  fc.constantFrom(
    FORWARDED,
    TTL,
    'x-real-ip',
    'forwarded',
    'x-aws-ec2-metadata-token',
    'connection',
    'content-length',
    'transfer-encoding',
    'range',
    'if-none-match',
    'accept',
  ),
  fc.string({ unit: fc.constantFrom('x', '-', 'a', '_', '!', '1'), minLength: 1, maxLength: 8 }),
);
const value = fc.oneof(
  fc.constantFrom('', '0', '1', '21600', '21601', '-1', '1e3', '0x10', ' 60', '60\t', '1, 2', '198.18.0.9', 'chunked'),
  fc.nat(30_000).map(String),
  fc.string({ unit: 'binary-ascii', maxLength: 30 }),
  fc.string({ unit: fc.integer({ min: 128, max: 255 }).map((code) => String.fromCodePoint(code)), maxLength: 10 }),
);

/** With whether a request under this name is meant for the metadata service; any other name is refused, whatever else is sent. */
const HOSTS: ReadonlyMap<string, boolean> = new Map([
  ['', true],
  ['169.254.169.254', true],
  ['169.254.169.254:80', true],
  ['[fd00:ec2::254]', true],
  ['169.254.169.254.example', false],
  ['metadata.example', false],
  ['198.18.0.9', false],
  ['169.254.169.254@metadata.example', false],
  ['t', false],
]);

/** An injected request never leaves the present turn of the event loop, and what it used is not let go of before the next. */
const REQUESTS_IN_A_TURN = 100;
let requests = 0;

/** Asks as a pod at 127.0.0.1 does, and holds the time to a limit; what took long is asked again, as in `within`. */
async function ask(method: 'GET' | 'PUT', url: string, fields: Record<string, string>) {
  let tookMs = 0;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    agent.source.asked.splice(0);
    agent.metadata.asked.splice(0);
    agent.lines.splice(0);
    requests += 1;
    if (requests % REQUESTS_IN_A_TURN === 0) await setImmediate();
    const startedMs = performance.now();
    const answer = await agent.app.inject({ method, url, headers: fields });
    tookMs = performance.now() - startedMs;
    if (tookMs < STALL_MS) return answer;
  }
  return assert.fail(`${method} ${url} took ${tookMs.toFixed(1)} ms`);
}

/** EC2's rule: a forwarded request gets no token, and a life is a whole number of seconds from 1 to 21600. */
function tokenStatus(fields: Readonly<Record<string, string>>): number {
  if (fields[FORWARDED] !== undefined) return 403;
  const ttl = fields[TTL] ?? '';
  const isNumber = ttl.length <= 5 && Array.from(ttl).every((digit) => '0123456789'.includes(digit));
  return isNumber && Number(ttl) >= 1 && Number(ttl) <= 21_600 ? 200 : 400;
}

export const headers = fc.asyncProperty(
  fc.dictionary(name, value, { maxKeys: 5 }),
  fc.option(fc.constantFrom(...HOSTS.keys()), { nil: undefined }),
  fc.constantFrom('credentials', 'token', 'proxy'),
  async (others, host, what) => {
    const fields: Record<string, string> = host === undefined ? others : { ...others, host };
    const sent = JSON.stringify(fields);
    if (host !== undefined && HOSTS.get(host) !== true) {
      const path = what === 'credentials' ? CREDENTIALS_PATH : PROXIED_PATH;
      const answer = await (what === 'token' ? ask('PUT', '/latest/api/token', fields) : ask('GET', path, fields));
      assert.equal(answer.statusCode, 403, sent);
      assert.deepEqual([agent.source.asked, agent.metadata.asked], [[], []], sent);
      return;
    }
    if (what === 'token') {
      const answer = await ask('PUT', '/latest/api/token', fields);
      assert.equal(answer.statusCode, tokenStatus(fields), sent);
      return;
    }
    const answer = await ask('GET', what === 'credentials' ? CREDENTIALS_PATH : PROXIED_PATH, fields);
    assert.equal(answer.statusCode, 200, sent);
    if (what === 'credentials') {
      assert.equal(answer.body, CREDENTIALS_TEXT);
      assert.deepEqual(agent.source.asked, ['credentials 127.0.0.1 reader'], sent);
      return;
    }
    assert.equal(agent.metadata.asked.length, 1, sent);
    assert.equal(agent.metadata.asked[0]?.path, PROXIED_PATH, sent);
    const allowed = new Set(['accept', 'if-modified-since', 'if-none-match']);
    for (const passedOn of Object.keys(agent.metadata.asked[0]?.question.headers ?? {}))
      assert.ok(allowed.has(passedOn), `${passedOn} is passed on: ${sent}`);
  },
);
