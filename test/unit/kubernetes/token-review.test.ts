import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { createTokenReviewer } from '#kubernetes/token-review.ts';

import { ManualClock, settle } from '../../support/manual-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { scriptedApi } from '../../support/scripted-api.ts';

const GOOD = {
  status: {
    authenticated: true,
    audiences: ['kiam-server'],
    user: {
      username: 'system:serviceaccount:kube-system:kiam-agent',
      extra: {
        'authentication.kubernetes.io/pod-uid': ['uid-1'],
        'authentication.kubernetes.io/node-name': ['node-1'],
      },
    },
  },
};

const AGENT = 'system:serviceaccount:kube-system:kiam-agent';
const POD = { kind: 'pod', uid: 'uid-1', user: AGENT, nodeName: 'node-1' };
const SOURCE = { address: '192.0.2.1', isNode: true, certificate: () => 'certificate-1' };

/** A token as the API server makes them, which ends at `expiresAtMs`; nobody checks its signature here. */
function tokenUntil(expiresAtMs: number): string {
  const claims = Buffer.from(JSON.stringify({ exp: Math.floor(expiresAtMs / 1000) })).toString('base64url');
  return `e30.${claims}.c2ln`;
}

/** A good answer with what the user's `extra` says beside the pod's UID. */
function withExtra(extra: object = {}): object {
  const user = { username: AGENT, extra: { 'authentication.kubernetes.io/pod-uid': ['uid-1'], ...extra } };
  return { status: { ...GOOD.status, user } };
}

function reviewerThat() {
  const clock = new ManualClock();
  const api = scriptedApi(clock);
  const { logger, lines } = recordingLogger();
  const review = createTokenReviewer({ connection: api, clock, logger });
  const { signal } = new AbortController();
  return {
    clock,
    lines,
    api,
    ask: (token: string, within = signal, source = SOURCE) => review(token, source, within),
    /** Asks, and answers the API server's part. */
    asked: async (token: string, status: number, body: unknown) => {
      const asking = review(token, SOURCE, signal);
      (await api.next('other')).answer(status, body);
      return asking;
    },
    refused: async (token: string) => {
      const asking = review(token, SOURCE, signal);
      (await api.next('other')).refuse(new Error('connect ECONNREFUSED'));
      return asking;
    },
  };
}

describe('the review of tokens', () => {
  const answers: readonly (readonly [string, unknown, object])[] = [
    ['a good token', GOOD, POD],
    ['a good token from before Kubernetes 1.30', withExtra(), { ...POD, nodeName: '' }],
    [
      'a token that names two nodes',
      withExtra({ 'authentication.kubernetes.io/node-name': ['node-1', 'node-2'] }),
      { ...POD, nodeName: '' },
    ],
    ['a token that is not authenticated', { status: { ...GOOD.status, authenticated: false } }, { kind: 'refused' }],
    ['what is nearly a yes', { status: { ...GOOD.status, authenticated: 'true' } }, { kind: 'refused' }],
    [
      'a token for others',
      { status: { ...GOOD.status, audiences: ['https://kubernetes.default.svc'] } },
      { kind: 'refused' },
    ],
    ['a token for nobody in particular', { status: { ...GOOD.status, audiences: undefined } }, { kind: 'refused' }],
    ['a token of no pod', { status: { ...GOOD.status, user: {} } }, { kind: 'refused' }],
    [
      'a token of a nameless pod',
      { status: { ...GOOD.status, user: { extra: { 'authentication.kubernetes.io/pod-uid': [''] } } } },
      { kind: 'refused' },
    ],
    ['an answer that is none', 'not JSON', { kind: 'refused' }],
  ];
  for (const [what, body, expected] of answers) {
    it(`the review of tokens of ${what} says ${JSON.stringify(expected)}`, async () => {
      assert.deepEqual(await reviewerThat().asked('token', 201, body), expected);
    });
  }

  it('the review of tokens asks for its own audience, with the token in the body alone', async () => {
    const { api, asked } = reviewerThat();
    await asked('the-token', 201, GOOD);
    const request = api.calls[0]?.request;
    assert.equal(request?.method, 'POST');
    assert.equal(request?.path, '/apis/authentication.k8s.io/v1/tokenreviews');
    assert.deepEqual(JSON.parse(String(request?.body)).spec, { token: 'the-token', audiences: ['kiam-server'] });
  });

  it('the review of tokens remembers a good token for five minutes and another for five seconds', async () => {
    const { clock, api, ask, asked } = reviewerThat();
    await asked('good', 201, GOOD);
    await asked('bad', 201, {});
    await clock.advance(4999);
    assert.deepEqual([(await ask('good')).kind, (await ask('bad')).kind], ['pod', 'refused']);
    assert.equal(api.calls.length, 2);
    await clock.advance(1);
    assert.equal((await asked('bad', 201, GOOD)).kind, 'pod');
    await clock.advance(294_999);
    assert.equal((await ask('good')).kind, 'pod');
    assert.equal(api.calls.length, 3);
    await clock.advance(1);
    assert.equal((await asked('good', 201, {})).kind, 'refused');
  });

  it('the review of tokens says that it cannot tell when RBAC lacks the verb or the API server is away, once in the log and never with the token', async () => {
    const { lines, asked, refused } = reviewerThat();
    assert.deepEqual(await asked('the-token', 403, { message: 'forbidden' }), { kind: 'unavailable' });
    assert.deepEqual(await refused('the-token'), { kind: 'unavailable' });
    assert.equal(lines.length, 1);
    assert.match(String(lines[0]?.fields['error']), /RBAC/);
    assert.doesNotMatch(JSON.stringify(lines), /the-token/);
    assert.equal((await asked('the-token', 201, GOOD)).kind, 'pod');
    await refused('other-token');
    assert.equal(lines.length, 2);
  });

  it('the review of tokens continues with a token that was good, to its end, while the API server is away', async () => {
    const { clock, asked, refused } = reviewerThat();
    const token = tokenUntil(clock.now() + 3_600_000);
    await asked(token, 201, GOOD);
    await clock.advance(3_599_000);
    assert.deepEqual(await refused(token), POD);
    await clock.advance(1000);
    assert.deepEqual(await refused(token), { kind: 'unavailable' });
  });

  it('the review of tokens does not go on with a token that was refused, that says no end or that nobody has reviewed', async () => {
    const { clock, asked, refused } = reviewerThat();
    const later = clock.now() + 3_600_000;
    await asked(tokenUntil(later), 201, {});
    await asked('no.token.at-all', 201, GOOD);
    await clock.advance(300_000);
    for (const token of [tokenUntil(later), 'no.token.at-all', tokenUntil(later + 1000), '..', '']) {
      assert.deepEqual(await refused(token), { kind: 'unavailable' }, token);
    }
  });

  it('the review of tokens asks nobody about what is too long to be a token', async () => {
    const { api, ask } = reviewerThat();
    assert.deepEqual(await ask('x'.repeat(16_385)), { kind: 'refused' });
    assert.equal(api.calls.length, 0);
  });

  it('the review of tokens ends with its caller, silently', async () => {
    const clock = new ManualClock();
    const { logger, lines } = recordingLogger();
    const review = createTokenReviewer({ connection: scriptedApi(clock), clock, logger });
    const controller = new AbortController();
    const asking = review('token', SOURCE, controller.signal);
    await settle();
    controller.abort();
    assert.deepEqual(await asking, { kind: 'unavailable' });
    assert.deepEqual(lines, []);
  });

  it('the review of tokens is one for all who ask at the time, and continues when one of them leaves', async () => {
    const { api, ask } = reviewerThat();
    const leaving = new AbortController();
    const asking = [ask('token', leaving.signal), ...Array.from({ length: 99 }, () => ask('token'))];
    const other = ask('another');
    const question = await api.next('other');
    leaving.abort();
    question.answer(201, GOOD);
    const [first, ...others] = await Promise.all(asking);
    assert.deepEqual(first, { kind: 'unavailable' });
    assert.ok(others.every(({ kind }) => kind === 'pod'));
    (await api.next('other')).answer(201, { status: { authenticated: false } });
    assert.deepEqual(await other, { kind: 'refused' });
    await settle();
    assert.ok(!api.isWaiting('other'));
  });
});

describe('tokens that nobody has found good', () => {
  const BAD = { status: { authenticated: false } };
  const node = (number: number) => ({ address: `198.51.100.${number}`, isNode: true, certificate: () => 'shared' });
  const stranger = (number: number) => ({ address: `203.0.113.${number}`, isNode: false, certificate: () => 'shared' });

  /** A reviewer whose API server finds nothing good but tokens that begin with `good`. */
  function limitedReviewer() {
    const reviewer = reviewerThat();
    let answering = Promise.resolve();
    const ask = async (token: string, source: ReturnType<typeof node>): Promise<string> => {
      const asking = reviewer.ask(token, undefined, source);
      await settle();
      if (reviewer.api.isWaiting('other')) {
        answering = answering.then(async () => {
          (await reviewer.api.next('other')).answer(201, token.startsWith('good') ? GOOD : BAD);
        });
        await answering;
      }
      return (await asking).kind;
    };
    const flood = async (count: number, sources: readonly ReturnType<typeof node>[]): Promise<void> => {
      for (let index = 0; index < count; index += 1) {
        const source = sources[index % sources.length];
        if (source !== undefined) await ask(`bad-${index}-${reviewer.clock.monotonic()}`, source);
      }
    };
    return { ...reviewer, ask, flood };
  }

  it('tokens that nobody has found good are asked about ten times at once and then once a second for each address', async () => {
    const { api, clock, flood } = limitedReviewer();
    await flood(500, [node(1)]);
    assert.equal(api.calls.length, 10);
    await clock.advance(3000);
    await flood(500, [node(1)]);
    assert.equal(api.calls.length, 13);
  });

  it('tokens that nobody has found good are asked about a hundred times at once and then ten times a second for a certificate, from all addresses that are no node’s', async () => {
    const { api, clock, flood } = limitedReviewer();
    const strangers = Array.from({ length: 200 }, (_, index) => stranger(index + 1));
    await flood(1000, strangers);
    assert.equal(api.calls.length, 100);
    await clock.advance(3000);
    await flood(1000, strangers);
    assert.equal(api.calls.length, 130);
  });

  it('tokens that nobody has found good do not keep a node’s agent from being known, nor one that has been found good from going on', async () => {
    const { api, clock, ask, flood } = limitedReviewer();
    assert.equal(await ask('good-early', node(2)), 'pod');
    await flood(500, [node(1), ...Array.from({ length: 50 }, (_, index) => stranger(index + 1))]);
    assert.equal(await ask('good-late', node(3)), 'pod');
    await flood(50, [node(2)]);
    await clock.advance(300_000);
    await flood(50, [node(2)]);
    assert.equal(await ask('good-early', node(2)), 'pod');
    const { length } = api.calls;
    assert.equal(await ask('bad-more', node(2)), 'unavailable', 'which is no refusal');
    assert.equal(api.calls.length, length);
  });

  it('tokens that nobody has found good cost nothing when they turn out to be good', async () => {
    const { ask } = limitedReviewer();
    for (let index = 0; index < 300; index += 1) assert.equal(await ask(`good-${index}`, stranger(1)), 'pod');
  });
});
