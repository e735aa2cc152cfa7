import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Metadata, status } from '@grpc/grpc-js';

import type { FailureKind } from '#domain/failure.ts';
import type { CallResult } from '#rpc/calls.ts';
import type { MethodName, Methods } from '#rpc/contract.ts';
import { createGateway } from '#rpc/gateway.ts';
import { statusOf } from '#rpc/status.ts';

import { ManualClock } from '../../support/manual-clock.ts';

interface Answer {
  readonly afterMs: number;
  readonly name?: string;
  readonly failure?: FailureKind;
  /** The text of Kiam's server, which says no more. */
  readonly kiamText?: string;
}

/** A client whose n-th call is answered as the script says; calls that the gateway cancels end as gRPC's do. */
function scriptedClient(clock: ManualClock, script: readonly Answer[]) {
  const calls: { atMs: number; timeoutMs: number; cancelled: boolean }[] = [];
  const call = <M extends MethodName>(
    _method: M,
    _request: Methods[M]['request'],
    { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  ): Promise<CallResult<Methods[M]['response']>> => {
    const record = { atMs: clock.monotonic(), timeoutMs, cancelled: false };
    const answer = script[Math.min(calls.length, script.length - 1)] ?? { afterMs: Infinity };
    calls.push(record);
    return new Promise((resolve) => {
      const fail = (code: status, details: string): void =>
        resolve({ ok: false, code, details, metadata: new Metadata() });
      const cancelAnswer = clock.after(Math.min(answer.afterMs, timeoutMs), () => {
        if (answer.afterMs > timeoutMs) fail(status.DEADLINE_EXCEEDED, 'Deadline exceeded');
        else if (answer.kiamText !== undefined) fail(status.UNKNOWN, answer.kiamText);
        else if (answer.failure !== undefined) {
          resolve({ ok: false, ...statusOf({ kind: answer.failure, message: answer.failure }) });
        } else resolve({ ok: true, response: roleNamed(answer.name ?? '') });
      });
      signal.addEventListener('abort', () => {
        record.cancelled = true;
        cancelAnswer();
        fail(status.CANCELLED, 'Cancelled on client');
      });
    });
  };
  return { client: { call, hasOther: () => true }, calls };
}

function roleNamed(name: string) {
  return { name, uid: '', role_arn: '', view_age_ms: 0 };
}

async function askRole(
  script: readonly Answer[],
  { giveUpAfterMs, replicas = Infinity }: { giveUpAfterMs?: number; replicas?: number } = {},
) {
  const waitMs = 900;
  const clock = new ManualClock();
  const { client: scripted, calls } = scriptedClient(clock, script);
  const client = { ...scripted, hasOther: () => calls.length < replicas };
  const gateway = createGateway({ client, clock, waitMs, random: () => 0.5 });
  let endedAtMs = -1;
  const asking = gateway.podRole('192.0.2.1', { check: 'read-unless-recent', giveUpAfterMs }).then((outcome) => {
    endedAtMs = clock.monotonic();
    return outcome;
  });
  await clock.advance(5000);
  return { outcome: await asking, calls, endedAtMs };
}

describe('the gateway', () => {
  it('the gateway makes one call when the server answers', async () => {
    const { outcome, calls, endedAtMs } = await askRole([{ afterMs: 3, name: 'reader' }]);
    assert.deepEqual(outcome, { ok: true, value: { role: 'reader', uid: '', roleArn: '', viewAgeMs: 0 } });
    assert.equal(endedAtMs, 3);
    assert.equal(calls.length, 1);
    assert.equal(calls[0]?.timeoutMs, 900);
  });

  for (const kind of [
    'forbidden',
    'role-empty',
    'sts-refused',
    'sts-throttled',
    'multiple-pods',
    'internal',
  ] as const) {
    it(`the gateway asks no second time when the answer is ${kind}`, async () => {
      const { outcome, calls } = await askRole([{ afterMs: 1, failure: kind }]);
      assert.ok(!outcome.ok);
      assert.equal(outcome.failure.kind, kind);
      assert.equal(calls.length, 1);
    });
  }

  const trouble = { afterMs: 100, failure: 'sts-unavailable' } as const;
  it('the gateway asks another replica, at once, when STS fails the first', async () => {
    const { outcome, calls, endedAtMs } = await askRole([trouble, { afterMs: 2, name: 'reader' }], { replicas: 3 });
    assert.equal(outcome.ok, true);
    assert.equal(calls.length, 2);
    assert.ok(endedAtMs < 110, `${endedAtMs} ms`);
  });

  it('the gateway asks each replica once when STS fails them all, and says so', async () => {
    const { outcome, calls, endedAtMs } = await askRole([trouble], { replicas: 3 });
    assert.deepEqual(outcome, { ok: false, failure: { kind: 'sts-unavailable', message: 'sts-unavailable' } });
    assert.equal(calls.length, 3);
    assert.ok(endedAtMs < 310, `${endedAtMs} ms`);
  });

  it('the gateway asks no other replica when STS fails the only one, or when the time is up', async () => {
    assert.equal((await askRole([trouble], { replicas: 1 })).calls.length, 1);
    const late = { afterMs: 890, failure: 'sts-unavailable' } as const;
    const { outcome, calls } = await askRole([late], { replicas: 2 });
    assert.ok(!outcome.ok);
    assert.equal(calls.length, 2, 'the second is the hedge');
  });

  it('the gateway still says that STS failed where the other replica knows less', async () => {
    const { outcome } = await askRole([trouble, { afterMs: 1, failure: 'view-stale' }], { replicas: 2 });
    assert.ok(!outcome.ok);
    assert.equal(outcome.failure.kind, 'sts-unavailable');
  });

  it("the gateway asks Kiam's server again until the pod is known, soon after it is", async () => {
    const unknown = { afterMs: 1, kiamText: 'pod not found' };
    const { outcome, calls, endedAtMs } = await askRole([unknown, unknown, unknown, { afterMs: 1, name: 'reader' }]);
    assert.deepEqual(outcome, { ok: true, value: { role: 'reader', uid: '', roleArn: '', viewAgeMs: 0 } });
    assert.equal(calls.length, 4);
    assert.ok(endedAtMs < 100, `${endedAtMs} ms`);
  });

  it('the gateway gives up at the end of its time, and says what the server said', async () => {
    const { outcome, calls, endedAtMs } = await askRole([{ afterMs: 1, kiamText: 'no pod found' }]);
    assert.deepEqual(outcome, { ok: false, failure: { kind: 'pod-not-found', message: 'no pod found' } });
    assert.ok(endedAtMs > 800 && endedAtMs <= 900, `${endedAtMs} ms`);
    assert.ok(calls.length < 20, `${calls.length} calls`);
  });

  it('the gateway asks another replica when the first one does not answer', async () => {
    const { outcome, calls, endedAtMs } = await askRole([{ afterMs: Infinity }, { afterMs: 2, name: 'reader' }]);
    assert.deepEqual(outcome, { ok: true, value: { role: 'reader', uid: '', roleArn: '', viewAgeMs: 0 } });
    assert.equal(calls.length, 2);
    assert.ok(endedAtMs < 500, `${endedAtMs} ms`);
    assert.equal(calls[0]?.cancelled, false, 'a reset stream is held against the whole connection');
  });

  it('the gateway asks on when the second replica does not answer either', async () => {
    const hung = { afterMs: Infinity };
    const { outcome, calls, endedAtMs } = await askRole([hung, hung, hung, { afterMs: 2, name: 'reader' }]);
    assert.ok(outcome.ok);
    assert.equal(calls.length, 4);
    assert.ok(endedAtMs < 700, `${endedAtMs} ms`);
  });

  it('the gateway takes the slow answer of the first replica when the second knows nothing', async () => {
    const { outcome } = await askRole([
      { afterMs: 600, name: 'reader' },
      { afterMs: 1, failure: 'server-unavailable' },
    ]);
    assert.deepEqual(outcome, { ok: true, value: { role: 'reader', uid: '', roleArn: '', viewAgeMs: 0 } });
  });

  it('the gateway ends in time when nobody answers', async () => {
    const { outcome, endedAtMs } = await askRole([{ afterMs: Infinity }]);
    assert.ok(!outcome.ok);
    assert.equal(outcome.failure.kind, 'timed-out');
    assert.ok(endedAtMs <= 900, `${endedAtMs} ms`);
  });

  it('the gateway says what tells most of all that it was told, whoever said it last', async () => {
    const away = { afterMs: 1, failure: 'server-unavailable' } as const;
    const scripts = [
      [[away], 'server-unavailable'],
      [[{ afterMs: 1, failure: 'view-stale' }, away], 'view-stale'],
      [
        [
          { afterMs: 1, failure: 'pod-not-found' },
          { afterMs: 1, failure: 'view-stale' },
        ],
        'pod-not-found',
      ],
      // A server that waits for the watch is another than one that is not there.
      [[{ afterMs: Infinity }, away], 'timed-out'],
      [[{ afterMs: 890, failure: 'pod-not-found' }, away], 'pod-not-found'],
      [
        [
          { afterMs: 400, failure: 'pod-not-found' },
          { afterMs: 1, failure: 'view-stale' },
        ],
        'pod-not-found',
      ],
    ] as const;
    for (const [script, kind] of scripts) {
      const { outcome } = await askRole(script);
      assert.equal(outcome.ok ? 'ok' : outcome.failure.kind, kind, JSON.stringify(script));
    }
  });

  for (const [failure, isGivenUp] of [
    ['server-unavailable', true],
    ['view-stale', true],
    ['pod-not-found', false],
  ] as const) {
    it(`the gateway ${isGivenUp ? 'gives up' : 'keeps asking'} when told to after 250 ms and all that was said is ${failure}`, async () => {
      const { outcome, endedAtMs } = await askRole([{ afterMs: 1, failure }], { giveUpAfterMs: 250 });
      assert.ok(!outcome.ok);
      assert.ok(isGivenUp ? endedAtMs >= 250 && endedAtMs < 460 : endedAtMs > 600, `${endedAtMs} ms`);
    });
  }

  for (const [lostAfterMs, kind] of [
    [400, 'ok'],
    // Not known to be away: only that there was no time left to ask another.
    [885, 'timed-out'],
  ] as const) {
    it(`the gateway asks another replica for as long as ever when one was lost with the question after ${lostAfterMs} ms`, async () => {
      const lost = { afterMs: lostAfterMs, failure: 'server-unavailable' } as const;
      const { outcome } = await askRole([lost, { afterMs: 1, name: 'reader' }], { giveUpAfterMs: 250, replicas: 1 });
      assert.equal(outcome.ok ? 'ok' : outcome.failure.kind, kind);
    });
  }

  it('the gateway asks another replica when one is away', async () => {
    const { outcome, calls } = await askRole([
      { afterMs: 1, failure: 'server-unavailable' },
      { afterMs: 1, name: 'reader' },
    ]);
    assert.deepEqual(outcome, { ok: true, value: { role: 'reader', uid: '', roleArn: '', viewAgeMs: 0 } });
    assert.equal(calls.length, 2);
  });

  it('the gateway has so many calls in progress at most, and the others wait for their turn', async () => {
    const clock = new ManualClock();
    const { client, calls } = scriptedClient(clock, [{ afterMs: 10, name: 'reader' }]);
    const gateway = createGateway({ client, clock, waitMs: 900, random: () => 0.5 });
    const asking = Array.from({ length: 600 }, (_, index) =>
      gateway.podRole(`192.0.2.${index}`, { check: 'read-unless-recent' }),
    );
    await clock.advance(0);
    assert.equal(calls.length, 256);
    await clock.advance(30);
    assert.ok((await Promise.all(asking)).every(({ ok }) => ok));
    assert.equal(calls.length, 600);
  });

  it('the gateway asks few questions twice, however many take long', async () => {
    const clock = new ManualClock();
    const { client, calls } = scriptedClient(clock, [{ afterMs: 800, name: 'reader' }]);
    const gateway = createGateway({ client, clock, waitMs: 900, random: () => 0.5 });
    const asking = Array.from({ length: 100 }, (_, index) =>
      gateway.podRole(`192.0.2.${index}`, { check: 'read-unless-recent' }),
    );
    await clock.advance(900);
    assert.ok((await Promise.all(asking)).every(({ ok }) => ok));
    assert.equal(calls.length, 116);
  });

  it('the gateway refuses an answer without credentials', async () => {
    const clock = new ManualClock();
    const { client } = scriptedClient(clock, [{ afterMs: 0, name: 'not credentials' }]);
    const empty = {
      ...client,
      call: async <M extends MethodName>(
        ...args: Parameters<typeof client.call<M>>
      ): Promise<CallResult<Methods[M]['response']>> => {
        await client.call(...args);
        return {
          ok: true,
          response: {
            code: '',
            type: '',
            access_key_id: '',
            secret_access_key: '',
            token: '',
            expiration: '',
            last_updated: '',
            uid: '',
            role_arn: '',
            view_age_ms: 0,
          },
        };
      },
    };
    const asking = createGateway({ client: empty, clock, waitMs: 900 }).podCredentials('192.0.2.1', 'reader', {
      check: 'read-unless-recent',
    });
    await clock.advance(1);
    const outcome = await asking;
    assert.ok(!outcome.ok);
    assert.equal(outcome.failure.kind, 'internal');
  });
});
