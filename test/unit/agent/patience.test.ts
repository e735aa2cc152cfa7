import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TIMED_CLIENTS, patienceOf } from '#agent/patience.ts';
import type { CredentialSource } from '#agent/ports.ts';
import { failed, type Outcome, succeeded } from '#domain/failure.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { podRole, testAgent } from './fixture.ts';

const LIST = '/latest/meta-data/iam/security-credentials/';
const TOKEN = '/latest/api/token';
const TTL = { 'x-aws-ec2-metadata-token-ttl-seconds': '300' };
/** How long after its time an answer may still be on its way out. */
const GRACE_MS = 30;

/** A pod that becomes known when it is told to. */
function latePod(): { readonly source: Partial<CredentialSource>; become(): void } {
  const waiting = new Set<() => void>();
  let known = false;
  const wait = <T>(signal: AbortSignal, value: T): Promise<Outcome<T>> =>
    new Promise((resolve) => {
      const settle = (): void => resolve(known ? succeeded(value) : failed('pod-not-found', 'pod not found'));
      if (known) settle();
      waiting.add(settle);
      signal.addEventListener('abort', settle, { once: true });
    });
  return {
    source: {
      podRole: (_client, signal) => wait(signal, podRole('reader')),
      knownUid: () => (known ? 'uid-1' : undefined),
    },
    become: () => {
      known = true;
      for (const settle of waiting) settle();
    },
  };
}

/** When a request is answered, in milliseconds from its beginning, and with what status. */
async function answeredAt(
  options: { readonly waitMs?: number; readonly userAgent: string },
  request: { readonly method: 'GET' | 'PUT'; readonly url: string },
): Promise<{ readonly atMs: number; readonly status: number }> {
  const clock = new ManualClock();
  const { waitMs, userAgent } = options;
  const { app } = testAgent({ clock, source: latePod().source, ...(waitMs === undefined ? {} : { waitMs }) });
  const answers: { readonly atMs: number; readonly status: number }[] = [];
  void app.inject({ ...request, headers: { ...TTL, 'user-agent': userAgent } }).then(({ statusCode }) => {
    answers.push({ atMs: clock.monotonic(), status: statusCode });
  });
  for (let passedMs = 0; answers.length === 0 && passedMs < 10_000; passedMs += 10) await clock.advance(10);
  await app.close();
  return answers[0] ?? assert.fail('never answered');
}

const USER_AGENTS = {
  'AWS SDK for Go v2': 'aws-sdk-go-v2/1.41.1 ua/2.1 os/linux lang/go#1.26.8 md/GOOS#linux api/imds',
  'AWS SDK for Go v1': 'aws-sdk-go/1.55.7 (go1.23; linux; amd64)',
  'AWS SDK for Rust': 'aws-sdk-rust/1.3.10 ua/2.1 api/imds/1.8 os/linux lang/rust/1.90',
  'AWS SDK for Kotlin': 'aws-sdk-kotlin/1.5.70 ua/2.1 api/imds os/linux lang/kotlin/2.2',
  'AWS SDK for JavaScript v2': 'aws-sdk-nodejs/2.1693.0 linux/v24.21.0',
  'AWS SDK for PHP': 'aws-sdk-php/3.363.0 HHVM-guzzle',
  'AWS SDK for Ruby': 'aws-sdk-ruby3/3.240.0',
  'AWS SDK for C++': 'aws-sdk-cpp/1.11.900 ua/2.0 md/aws-crt#0.44.1 os/Linux lang/c++#C++11 cfg/retry-mode#default',
  'AWS common runtime for C': 'aws-sdk-crt/aws-imds-client',
} as const;

test('each client of the table is known by what it really sends', () => {
  assert.deepEqual(
    TIMED_CLIENTS.map(({ name }) => name),
    Object.keys(USER_AGENTS),
  );
  for (const { name, userAgent } of TIMED_CLIENTS)
    for (const [other, text] of Object.entries(USER_AGENTS))
      assert.equal(userAgent.test(text), other === name, `${name}: ${text}`);
});

for (const client of TIMED_CLIENTS) {
  const userAgent = Object.entries(USER_AGENTS).find(([name]) => name === client.name)?.[1] ?? '';

  test(`${client.name} is answered when the table says`, async () => {
    const list = await answeredAt({ userAgent }, { method: 'GET', url: LIST });
    assert.equal(list.status, 503);
    assert.ok(list.atMs >= client.answerMs && list.atMs <= client.answerMs + GRACE_MS, String(list.atMs));
    const token = await answeredAt({ userAgent }, { method: 'PUT', url: TOKEN });
    assert.equal(token.status, 200);
    assert.ok(token.atMs >= client.tokenMs && token.atMs <= client.tokenMs + GRACE_MS, String(token.atMs));
  });
}

test('a client that is not in the table is waited for as long as Kiam would, and gets its token within a second', async () => {
  for (const userAgent of ['', 'Boto3/1.44.5 md/Botocore#1.44.5', 'aws-sdk-java/2.40.0', 'Go-http-client/1.1']) {
    const list = await answeredAt({ userAgent }, { method: 'GET', url: LIST });
    assert.ok(list.status === 503 && list.atMs >= 5000 && list.atMs <= 5000 + GRACE_MS, `${userAgent}: ${list.atMs}`);
    const token = await answeredAt({ userAgent }, { method: 'PUT', url: TOKEN });
    assert.ok(token.status === 200 && token.atMs < 1000, `${userAgent}: ${token.atMs}`);
  }
});

test('a client that hung up on its request for a token gets the next one within a second', async (t) => {
  for (const userAgent of [USER_AGENTS['AWS SDK for C++'], USER_AGENTS['AWS common runtime for C']]) {
    const clock = new ManualClock();
    const { app } = testAgent({ clock, source: latePod().source });
    t.after(() => app.close());
    const request = { method: 'PUT', url: TOKEN, headers: { ...TTL, 'user-agent': userAgent } } as const;
    const gone = new AbortController();
    const first = app.inject({ ...request, signal: gone.signal });
    await clock.advance(1000);
    gone.abort();
    await assert.rejects(Promise.resolve(first));
    const second = app.inject(request).then(({ statusCode }) => ({ statusCode, atMs: clock.monotonic() }));
    await clock.advance(1000);
    const { statusCode, atMs } = await second;
    assert.ok(statusCode === 200 && atMs > 1800 && atMs <= 1900 + GRACE_MS, `${userAgent}: ${atMs}`);
  }
});

test('--wait is the upper bound of every wait', async () => {
  assert.deepEqual(patienceOf('Botocore/1.44.5', 100), { tokenMs: 100, answerMs: 100 });
  assert.deepEqual(patienceOf('aws-sdk-go-v2/1.41.1', 1000), { tokenMs: 400, answerMs: 450 });
  assert.ok((await answeredAt({ waitMs: 200, userAgent: '' }, { method: 'PUT', url: TOKEN })).atMs <= 230);
});

test('a token is issued at once when the pod becomes known while it is waited for, and at once for a known pod', async () => {
  const clock = new ManualClock();
  const pod = latePod();
  const { app } = testAgent({ clock, source: pod.source });
  const asked = app.inject({ method: 'PUT', url: TOKEN, headers: TTL });
  await clock.advance(300);
  pod.become();
  assert.equal((await asked).statusCode, 200);
  assert.equal((await asked).headers['x-aws-ec2-metadata-token-ttl-seconds'], '300');
  assert.equal((await app.inject({ method: 'PUT', url: TOKEN, headers: TTL })).statusCode, 200);
  assert.equal(clock.monotonic(), 300);
  await app.close();
});

test('a token with a wrong lifetime is refused without any waiting', async () => {
  const { app } = testAgent({ clock: new ManualClock(), source: latePod().source });
  assert.equal((await app.inject({ method: 'PUT', url: TOKEN })).statusCode, 400);
  await app.close();
});
