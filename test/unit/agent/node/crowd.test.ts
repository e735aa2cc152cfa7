import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Registry } from 'prom-client';

import { createNodeMetrics } from '#agent/node/metrics.ts';
import { createNodeSource } from '#agent/node/source.ts';
import { NodeStore } from '#agent/node/store.ts';
import { Trust } from '#agent/node/trust.ts';
import type { Client } from '#agent/ports.ts';
import { failed, type Outcome, succeeded } from '#domain/failure.ts';
import type { Holder } from '#rpc/contract.ts';

import { ManualClock, settle } from '../../../support/manual-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const PATIENT = new AbortController().signal;

/** A source whose gateway answers when the test says so. */
function sourceOf(readEvidence: (address: string) => Client['evidence']) {
  const clock = new ManualClock();
  const answers: ((outcome: Outcome<Holder & { role: string }>) => void)[] = [];
  const store = new NodeStore();
  const source = createNodeSource({
    gateway: {
      podRole: () => new Promise((resolve) => answers.push(resolve)),
      podCredentials: () => Promise.resolve(failed('internal', 'not asked here')),
      serverHealth: () => Promise.resolve(succeeded('ok')),
    },
    trust: new Trust({
      clock,
      logger: recordingLogger().logger,
      isElsewhere: () => false,
      readEvidence,
      maxAgeMs: () => 30_000,
    }),
    store,
    isStoreKept: false,
    stream: { isLive: false, isHeard: false, silenceMs: () => Number.POSITIVE_INFINITY },
    clock,
    serveStaleMs: 0,
    metrics: createNodeMetrics(new Registry(), { size: () => 0, silenceMs: () => 0 }),
  });
  return { source, answers };
}

const reader = (uid: string) => succeeded({ role: 'reader', uid, roleArn: '', viewAgeMs: 0 });

describe('a crowd that asks the same', () => {
  it('a crowd that asks the same is one question', async () => {
    const evidence = { kind: 'interface', key: 'veth1 7' } as const;
    const { source, answers } = sourceOf(() => evidence);
    const asking = Array.from({ length: 1000 }, () =>
      source.podRole({ address: '192.0.2.1', evidence, acceptedMs: 0 }, PATIENT),
    );
    await settle();
    assert.equal(answers.length, 1);
    answers[0]?.(reader('uid-1'));
    assert.ok((await Promise.all(asking)).every(({ ok }) => ok));
  });

  it('a crowd that asks the same is not the same once the address has other evidence: the next pod never joins the former one’s question', async () => {
    let key = 'veth1 7';
    const now = () => ({ kind: 'interface', key }) as const;
    const { source, answers } = sourceOf(now);
    const former = source.podRole({ address: '192.0.2.1', evidence: now(), acceptedMs: 0 }, PATIENT);
    key = 'veth1 8';
    const next = source.podRole({ address: '192.0.2.1', evidence: now(), acceptedMs: 0 }, PATIENT);
    await settle();
    assert.equal(answers.length, 2);
    answers[0]?.(reader('uid-former'));
    answers[1]?.(reader('uid-next'));
    assert.equal((await former).ok, false, 'what was found for the former pod is for nobody now');
    assert.deepEqual(await next, reader('uid-next'));
  });

  it('a crowd that asks the same asks again when the one that it joined ran out of time', async () => {
    const evidence = { kind: 'none', reason: 'a test' } as const;
    const { source, answers } = sourceOf(() => evidence);
    const first = source.podRole({ address: '192.0.2.1', evidence, acceptedMs: 0 }, PATIENT);
    const second = source.podRole({ address: '192.0.2.1', evidence, acceptedMs: 0 }, PATIENT);
    const gone = new AbortController();
    const third = source.podRole({ address: '192.0.2.1', evidence, acceptedMs: 0 }, gone.signal);
    await settle();
    gone.abort();
    answers[0]?.(failed('pod-not-found', 'pod not found'));
    await settle();
    assert.equal(answers.length, 2, 'asked once more, by the one who still waits');
    answers[1]?.(reader('uid-1'));
    assert.deepEqual([(await first).ok, (await second).ok, (await third).ok], [false, true, false]);
  });
});
