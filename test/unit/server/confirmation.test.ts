import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import type { PodRecord, PodReading } from '#domain/pod.ts';
import { PodCache } from '#kubernetes/pod-cache.ts';
import type { AddressCheck } from '#rpc/contract.ts';
import { Confirmation } from '#server/confirmation.ts';

import { sleep } from '#runtime/clock.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const AWAY: PodReading = { kind: 'unknown', reason: 'a test' };
const HOLDS = { kind: 'holds', ageMs: 0 };

/** A confirmation over an API server that says what the test wants, and a watch that has told of one pod. */
function confirmationThat(says: (pod: PodRecord) => PodReading = (pod) => ({ kind: 'found', pod })) {
  const clock = new ManualClock();
  const pods = new PodCache({ logger: recordingLogger().logger });
  const pod = podRecord();
  pods.upsert(pod);
  const api = { says, viewAgeMs: 0, reads: 0, hangs: false, tookMs: 0 };
  const confirmation = new Confirmation({
    reader: {
      readPod: (namespace, name, signal) => {
        api.reads += 1;
        assert.deepEqual([namespace, name], [pod.namespace, pod.name]);
        if (!api.hangs && api.tookMs === 0) return Promise.resolve(api.says(pod));
        if (!api.hangs) return sleep(clock, api.tookMs, signal).then(() => api.says(pod));
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve(AWAY)));
      },
      viewAgeMs: () => api.viewAgeMs,
    },
    pods,
    clock,
    maxViewAgeMs: 30_000,
  });
  const signal = new AbortController().signal;
  return {
    clock,
    pods,
    api,
    pod,
    confirmation,
    confirm: (how: AddressCheck, of = pod, within = signal) => confirmation.confirm(of, how, within),
  };
}

describe('confirmation', () => {
  const readings: readonly (readonly [string, (pod: PodRecord) => PodReading, 'holds' | 'moved'])[] = [
    ['the pod as the watch has it', (pod) => ({ kind: 'found', pod }), 'holds'],
    [
      'a pod that changed in what does not matter',
      (pod) => ({ kind: 'found', pod: { ...pod, resourceVersion: '9' } }),
      'holds',
    ],
    ['no such pod', () => ({ kind: 'gone' }), 'moved'],
    ['another pod of that name', (pod) => ({ kind: 'found', pod: { ...pod, uid: 'uid-2' } }), 'moved'],
    ['another address', (pod) => ({ kind: 'found', pod: { ...pod, addresses: ['192.0.2.9'] } }), 'moved'],
    ['another node', (pod) => ({ kind: 'found', pod: { ...pod, nodeName: 'node-9' } }), 'moved'],
    ['another address of its node', (pod) => ({ kind: 'found', pod: { ...pod, hostIps: ['198.51.100.9'] } }), 'moved'],
    ['the mark of a mirror pod', (pod) => ({ kind: 'found', pod: { ...pod, mirror: true } }), 'moved'],
    ['no address', (pod) => ({ kind: 'found', pod: { ...pod, addresses: [] } }), 'moved'],
    ['a pod that has ended well', (pod) => ({ kind: 'found', pod: { ...pod, phase: 'Succeeded' } }), 'moved'],
    ['a pod that has failed', (pod) => ({ kind: 'found', pod: { ...pod, phase: 'Failed' } }), 'moved'],
  ];
  for (const [what, says, expected] of readings) {
    it(`confirmation ${expected === 'holds' ? 'accepts' : 'refuses'} ${what}`, async () => {
      for (const how of ['read-unless-recent', 'read', 'read-or-refuse', 'kernel-bound'] as const) {
        const { confirm } = confirmationThat(says);
        assert.equal((await confirm(how)).kind, expected);
      }
    });
  }

  it('confirmation takes the address of a pod that is being deleted for its own, but not with a new interface', async () => {
    const { confirm } = confirmationThat((pod) => ({ kind: 'found', pod: { ...pod, terminating: true } }));
    assert.deepEqual(await confirm('read'), HOLDS);
    assert.deepEqual(await confirm('read-or-refuse'), { kind: 'moved' });
  });

  it('confirmation remembers for ever what the kernel holds, for a while what nothing holds, and never what is in doubt', async () => {
    const { clock, api, confirm } = confirmationThat();
    await confirm('kernel-bound');
    await clock.advance(29_999);
    assert.deepEqual(await confirm('read-unless-recent'), { kind: 'holds', ageMs: 29_999 });
    assert.equal(api.reads, 1);
    await clock.advance(1);
    assert.deepEqual(await confirm('kernel-bound'), { kind: 'holds', ageMs: 30_000 });
    assert.equal(api.reads, 1);
    assert.deepEqual(await confirm('read-unless-recent'), HOLDS);
    assert.equal(api.reads, 2);
    await confirm('read');
    await confirm('read-or-refuse');
    assert.equal(api.reads, 4);
  });

  it('confirmation tells how long ago it was that the API server confirmed a pod at its present address, and does not ask for that', async () => {
    const { clock, api, pod, confirm, confirmation } = confirmationThat();
    assert.equal(confirmation.confirmedAgoMs(pod), undefined);
    await confirm('kernel-bound');
    await clock.advance(40_000);
    assert.equal(confirmation.confirmedAgoMs(pod), 40_000);
    assert.equal(confirmation.confirmedAgoMs({ ...pod, addresses: ['192.0.2.9'] }), undefined);
    assert.equal(api.reads, 1);
  });

  it('confirmation asks again after the pod got another address, and after it was refused', async () => {
    const { api, pod, confirm } = confirmationThat();
    await confirm('kernel-bound');
    const moved = { ...pod, addresses: ['192.0.2.9'] };
    api.says = () => ({ kind: 'found', pod: moved });
    assert.deepEqual(await confirm('kernel-bound', moved), HOLDS);
    assert.deepEqual(await confirm('kernel-bound', moved), { kind: 'holds', ageMs: 0 });
    assert.equal(api.reads, 2);
    assert.deepEqual(await confirm('read', pod), { kind: 'moved' });
    assert.deepEqual(await confirm('kernel-bound', moved), HOLDS);
    assert.equal(api.reads, 4);
  });

  it('confirmation forgets a pod that has gone, also one that went while it was asked about', async () => {
    const { api, pods, pod, confirm } = confirmationThat();
    await confirm('kernel-bound');
    pods.remove(pod.uid);
    await confirm('kernel-bound');
    await confirm('kernel-bound');
    assert.equal(api.reads, 3);
  });

  const ages: readonly (readonly [AddressCheck, number, object])[] = [
    ['read-unless-recent', 0, { kind: 'holds', ageMs: 0 }],
    ['read', 29_999, { kind: 'holds', ageMs: 29_999 }],
    ['kernel-bound', 29_999, { kind: 'holds', ageMs: 29_999 }],
    ['read', 30_000, { kind: 'unsure' }],
    ['kernel-bound', 30_000, { kind: 'unsure' }],
    ['read-unless-recent', Number.POSITIVE_INFINITY, { kind: 'unsure' }],
    ['read-or-refuse', 0, { kind: 'unsure' }],
  ];
  for (const [how, viewAgeMs, expected] of ages) {
    it(`confirmation asked ${how}, without the API server and by a view of ${viewAgeMs} ms, says ${JSON.stringify(expected)}`, async () => {
      const { api, confirm } = confirmationThat(() => AWAY);
      api.viewAgeMs = viewAgeMs;
      assert.deepEqual(await confirm(how), expected);
    });
  }

  it('confirmation continues with what was confirmed while the API server is away, where the kernel holds it', async () => {
    const { clock, api, confirm } = confirmationThat();
    await confirm('read');
    api.says = () => AWAY;
    api.viewAgeMs = 3_600_000;
    await clock.advance(3_600_000);
    assert.deepEqual(await confirm('kernel-bound'), { kind: 'holds', ageMs: 3_600_000 });
    assert.deepEqual(await confirm('read-unless-recent'), { kind: 'unsure' });
  });

  it('confirmation asks the API server twice for a crowd, and answers nobody by what was read before the question', async () => {
    const { clock, api, confirm } = confirmationThat();
    api.tookMs = 100;
    const first = confirm('read');
    await clock.advance(50);
    const crowd = Array.from({ length: 1000 }, () => confirm('read'));
    await clock.advance(50);
    assert.deepEqual(await first, HOLDS);
    api.says = () => ({ kind: 'gone' });
    await clock.advance(100);
    assert.deepEqual(new Set((await Promise.all(crowd)).map(({ kind }) => kind)), new Set(['moved']));
    assert.equal(api.reads, 2);
  });

  it('confirmation is late for who cannot wait, whatever the watch says, and continues for the others', async () => {
    const { clock, api, pod, confirm } = confirmationThat();
    api.tookMs = 100;
    const impatient = new AbortController();
    const [leaving, staying] = [confirm('read', pod, impatient.signal), confirm('read')];
    await clock.advance(50);
    impatient.abort();
    assert.deepEqual(await leaving, { kind: 'late' });
    await clock.advance(150);
    assert.deepEqual(await staying, HOLDS);
  });

  it('confirmation waits half a second for an API server that does not answer', async () => {
    const { clock, api, confirm } = confirmationThat();
    api.hangs = true;
    api.viewAgeMs = 30_000;
    const asking = confirm('read');
    await clock.advance(500);
    assert.deepEqual(await asking, { kind: 'unsure' });
  });
});
