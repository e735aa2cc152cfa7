import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { NodeStore } from '#agent/node/store.ts';
import type { NodeUpdate, PodBinding } from '#rpc/contract.ts';

import { ManualClock } from '../../../support/manual-clock.ts';
import { credentialsUpdate, HEARTBEAT, podUpdate, SYNCED } from './updates.ts';

function storeThat() {
  const clock = new ManualClock();
  const gone: string[] = [];
  const store = new NodeStore((uid) => gone.push(uid));
  return {
    clock,
    gone,
    store,
    hears: (...updates: readonly NodeUpdate[]): void => updates.forEach((update) => store.apply(update, clock)),
    uidAt: (address: string) => store.find(address)?.uid,
    keyAt: (address: string) => {
      const pod = store.find(address);
      return pod === undefined ? undefined : store.credentialsOf(pod)?.value.accessKeyId;
    },
  };
}

const HOUR_MS = 3_600_000;

describe('the node store', () => {
  it('the node store finds a pod by each of its addresses, in canonical form', () => {
    const { store, hears, uidAt } = storeThat();
    hears(podUpdate({ addresses: ['192.0.2.1', '2001:DB8:0::1', 'no address'] }));
    assert.equal(uidAt('192.0.2.1'), 'uid-1');
    assert.equal(uidAt('2001:db8::1'), 'uid-1');
    assert.equal(uidAt('no address'), undefined);
    assert.equal(store.size, 1);
  });

  it('the node store knows of which moment all that it holds is, unless two streams have told of it', async () => {
    const { clock, store, hears } = storeThat();
    const beat = (viewAgeMs: number): NodeUpdate => ({ heartbeat: { silence_ms: 0, view_age_ms: viewAgeMs } });
    await clock.advance(10_000);
    store.begin();
    hears(beat(100), podUpdate());
    assert.equal(store.asOfMs, Number.NEGATIVE_INFINITY);
    hears(SYNCED, beat(3000));
    assert.equal(store.asOfMs, 7000);
    hears(beat(0));
    assert.equal(store.asOfMs, 7000, 'a server that does not know says nothing');
    store.begin();
    assert.equal(store.asOfMs, 7000, 'another stream is tried for, and nothing heard on it');
    hears(podUpdate({ uid: 'uid-2', addresses: ['192.0.2.2'] }));
    assert.equal(store.asOfMs, Number.NEGATIVE_INFINITY);
    hears(SYNCED, beat(9000));
    assert.equal(store.asOfMs, 1000, 'the set is that of a server that knows less');
    store.clear(clock);
    assert.equal(store.asOfMs, Number.NEGATIVE_INFINITY);
  });

  it('the node store finds nobody where two pods claim an address, and the one that is left', () => {
    const { hears, uidAt } = storeThat();
    hears(podUpdate(), podUpdate({ uid: 'uid-2' }));
    assert.equal(uidAt('192.0.2.1'), undefined);
    hears({ gone: { uid: 'uid-1' } });
    assert.equal(uidAt('192.0.2.1'), 'uid-2');
  });

  it('the node store follows an address from one pod to another, in either order of the news', () => {
    const { hears, uidAt } = storeThat();
    hears(podUpdate(), podUpdate({ uid: 'uid-2', addresses: ['192.0.2.2'] }));
    hears(podUpdate({ addresses: ['192.0.2.3'] }), podUpdate({ uid: 'uid-2', addresses: ['192.0.2.1'] }));
    assert.deepEqual(['192.0.2.1', '192.0.2.2', '192.0.2.3'].map(uidAt), ['uid-2', undefined, 'uid-1']);
    hears(podUpdate({ addresses: ['192.0.2.1', '192.0.2.3'] }), podUpdate({ uid: 'uid-2', addresses: [] }));
    assert.deepEqual(['192.0.2.1', '192.0.2.3'].map(uidAt), ['uid-1', 'uid-1']);
  });

  it('the node store is the same after the same is said again', () => {
    const { store, hears, uidAt, keyAt, gone } = storeThat();
    for (let time = 0; time < 3; time += 1) hears(credentialsUpdate('identity-1', HOUR_MS), podUpdate());
    assert.equal(uidAt('192.0.2.1'), 'uid-1');
    assert.equal(keyAt('192.0.2.1'), 'ASIA-identity-1');
    hears({ gone: { uid: 'uid-1' } }, { gone: { uid: 'uid-1' } });
    assert.equal(uidAt('192.0.2.1'), undefined);
    assert.equal(store.size, 0);
    assert.deepEqual(gone, ['uid-1']);
  });

  it('the node store keeps credentials while a pod has them, and drops them with the last', () => {
    const { store, hears, keyAt } = storeThat();
    hears(credentialsUpdate('shared', HOUR_MS), podUpdate({ identity: 'shared' }));
    hears(podUpdate({ uid: 'uid-2', addresses: ['192.0.2.2'], identity: 'shared' }), { gone: { uid: 'uid-1' } });
    const second = store.find('192.0.2.2');
    assert.ok(second);
    assert.equal(keyAt('192.0.2.2'), 'ASIA-shared');
    hears(podUpdate({ uid: 'uid-2', addresses: ['192.0.2.2'], role_arn: '', identity: '' }));
    assert.equal(store.credentialsOf(second), undefined);
    assert.equal(keyAt('192.0.2.2'), undefined);
  });

  it('the node store drops credentials that came for no pod', () => {
    const { hears, keyAt } = storeThat();
    hears(credentialsUpdate('identity-1', HOUR_MS), HEARTBEAT, podUpdate({ identity: 'other' }));
    hears(podUpdate({ identity: 'identity-1' }));
    assert.equal(keyAt('192.0.2.1'), undefined);
  });

  it('the node store takes renewed credentials for all who have them', () => {
    const { hears, keyAt } = storeThat();
    hears(credentialsUpdate('identity-1', HOUR_MS), podUpdate());
    hears(podUpdate({ uid: 'uid-2', addresses: ['192.0.2.2'] }));
    hears(credentialsUpdate('identity-1', 2 * HOUR_MS, 'ASIA-renewed'), HEARTBEAT);
    assert.deepEqual(['192.0.2.1', '192.0.2.2'].map(keyAt), ['ASIA-renewed', 'ASIA-renewed']);
  });

  it('the node store serves what the last stream said until the next has said everything, then only that', () => {
    const { store, hears, uidAt, keyAt, gone } = storeThat();
    store.begin();
    hears(credentialsUpdate('identity-1', HOUR_MS), podUpdate());
    hears(credentialsUpdate('old', HOUR_MS), podUpdate({ uid: 'uid-2', addresses: ['192.0.2.2'], identity: 'old' }));
    hears(SYNCED);
    store.begin();
    hears(credentialsUpdate('identity-1', HOUR_MS, 'ASIA-again'), podUpdate());
    assert.equal(uidAt('192.0.2.2'), 'uid-2');
    hears(SYNCED);
    assert.equal(uidAt('192.0.2.2'), undefined);
    assert.equal(keyAt('192.0.2.1'), 'ASIA-again');
    assert.deepEqual(gone, ['uid-2']);
    hears(podUpdate({ uid: 'uid-3', addresses: ['192.0.2.3'], identity: 'old' }));
    assert.equal(keyAt('192.0.2.3'), undefined);
  });

  it('the node store keeps what a stream said that broke before it had said everything', () => {
    const { store, hears, uidAt } = storeThat();
    store.begin();
    hears(podUpdate(), SYNCED);
    store.begin();
    hears(podUpdate({ uid: 'uid-2', addresses: ['192.0.2.2'] }));
    store.begin();
    hears(podUpdate(), podUpdate({ uid: 'uid-3', addresses: ['192.0.2.3'] }));
    assert.deepEqual(['192.0.2.1', '192.0.2.2', '192.0.2.3'].map(uidAt), ['uid-1', 'uid-2', 'uid-3']);
    hears(SYNCED);
    assert.deepEqual(['192.0.2.1', '192.0.2.2', '192.0.2.3'].map(uidAt), ['uid-1', undefined, 'uid-3']);
  });

  it('the node store forgets every pod when told to, and keeps living credentials for the next whole set alone', async () => {
    const { clock, store, hears, gone, keyAt } = storeThat();
    const hear = (identity: string, lifeMs: number, address: string): void =>
      hears(
        credentialsUpdate(identity, clock.now() + lifeMs),
        podUpdate({ uid: identity, identity, addresses: [address] }),
      );
    hear('short', 1000, '192.0.2.1');
    hear('long', HOUR_MS, '192.0.2.2');
    hear('other', HOUR_MS, '192.0.2.3');
    await clock.advance(1000);
    store.clear(clock);
    assert.equal(store.size, 0);
    assert.deepEqual(gone, ['short', 'long', 'other']);
    assert.equal(store.find('192.0.2.2'), undefined);
    store.begin();
    hears(podUpdate({ identity: 'short' }));
    hears(podUpdate({ uid: 'uid-2', identity: 'long', addresses: ['192.0.2.2'] }));
    assert.deepEqual(['192.0.2.1', '192.0.2.2'].map(keyAt), [undefined, 'ASIA-long']);
    hears(SYNCED, podUpdate({ uid: 'uid-3', identity: 'other', addresses: ['192.0.2.3'] }));
    assert.equal(keyAt('192.0.2.3'), undefined, 'no pod of the whole set had it');
  });

  it('the node store keeps the credentials of a pod whose new server has none yet, until others come', () => {
    const { store, hears, keyAt } = storeThat();
    store.begin();
    hears(credentialsUpdate('identity-1', HOUR_MS), podUpdate(), SYNCED);
    store.begin();
    hears(podUpdate());
    assert.equal(keyAt('192.0.2.1'), 'ASIA-identity-1');
    hears(SYNCED, HEARTBEAT);
    assert.equal(keyAt('192.0.2.1'), 'ASIA-identity-1');
    hears(credentialsUpdate('identity-1', HOUR_MS, 'ASIA-next'));
    assert.equal(keyAt('192.0.2.1'), 'ASIA-next');
  });

  const changes: readonly (readonly [string, Partial<PodBinding>, boolean])[] = [
    ['nothing', {}, true],
    ['its address', { addresses: ['192.0.2.1', '192.0.2.9'] }, true],
    ['its identity', { identity: 'identity-2' }, false],
    ['its role', { role: 'writer', role_arn: 'arn:aws:iam::1:role/writer', identity: 'identity-2' }, false],
    ['what it may have, which is nothing', { role_arn: '', identity: '' }, false],
    ['nothing, for a server of 0.1.0 without credentials for it', { identity: '' }, true],
    [
      'its role, for a server of 0.1.0 without credentials for it',
      { role: 'writer', role_arn: 'arn:aws:iam::1:role/writer', identity: '' },
      false,
    ],
  ];
  for (const [what, fields, isKept] of changes) {
    it(`the node store ${isKept ? 'keeps' : 'drops'} the credentials of a pod when another server tells of it and ${what} has changed`, () => {
      const { store, hears, keyAt } = storeThat();
      store.begin();
      hears(credentialsUpdate('identity-1', HOUR_MS), podUpdate(), SYNCED);
      store.begin();
      hears(podUpdate(fields), SYNCED);
      assert.equal(keyAt('192.0.2.1'), isKept ? 'ASIA-identity-1' : undefined);
      hears(podUpdate());
      assert.equal(keyAt('192.0.2.1'), isKept ? 'ASIA-identity-1' : undefined, 'what is dropped does not come back');
    });
  }

  it('the node store waits for the first credentials of an identity that it was told before', () => {
    const { hears, keyAt } = storeThat();
    hears(podUpdate(), HEARTBEAT, podUpdate({ uid: 'uid-2', addresses: ['192.0.2.2'] }), SYNCED);
    assert.equal(keyAt('192.0.2.1'), undefined);
    hears(credentialsUpdate('identity-1', HOUR_MS), HEARTBEAT, { gone: { uid: 'uid-1' } }, SYNCED);
    assert.equal(keyAt('192.0.2.2'), 'ASIA-identity-1');
  });

  it('the node store knows when credentials end by both clocks', async () => {
    const { store, clock, hears } = storeThat();
    await clock.advance(5000);
    const expiresAtMs = clock.now() + HOUR_MS;
    hears(credentialsUpdate('identity-1', expiresAtMs), podUpdate());
    const pod = store.find('192.0.2.1');
    assert.ok(pod);
    const credentials = store.credentialsOf(pod);
    assert.deepEqual([credentials?.expiresAtMs, credentials?.deadAtMs], [expiresAtMs, 5000 + HOUR_MS]);
  });
});
