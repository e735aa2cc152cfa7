import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Registry } from 'prom-client';

import { createNodeMetrics } from '#agent/node/metrics.ts';
import { createNodeSource } from '#agent/node/source.ts';
import { NodeStore } from '#agent/node/store.ts';
import { Trust } from '#agent/node/trust.ts';
import type { Client, Evidence } from '#agent/ports.ts';
import { failed, type Outcome, succeeded } from '#domain/failure.ts';
import { credentialsOf, type Confirm, type Holder } from '#rpc/contract.ts';

import { ManualClock } from '../../../support/manual-clock.ts';
import { credentialsUpdate, podUpdate } from './updates.ts';

const ADDRESS = '192.0.2.1';
const LISTED = { uid: 'uid-1', roleArn: 'arn:aws:iam::1:role/reader', viewAgeMs: 0 };
const PATIENT = new AbortController().signal;

/** A node that holds one pod with its role, asked about by connections with this evidence (`'-'` for none). */
function nodeThat({ serveStaleMs = 30_000, evidence: first = 'if-7', lifeMs = 3_600_000 } = {}) {
  const clock = new ManualClock();
  const kernel = { key: first };
  const evidence = (): Evidence =>
    kernel.key === '-' ? { kind: 'none', reason: 'a test' } : { kind: 'interface', key: kernel.key };
  const stream = { isLive: true, lostMs: 0 };
  const asked: Confirm[] = [];
  const server: { answer: Outcome<Holder> } = { answer: succeeded(LISTED) };
  const store = new NodeStore();
  const credentials = credentialsUpdate('identity-1', clock.now() + lifeMs);
  store.apply(credentials, clock);
  store.apply(podUpdate(), clock);
  const answer = <T>(confirm: Confirm, what: T): Promise<Outcome<Holder & T>> => {
    asked.push(confirm);
    return Promise.resolve(server.answer.ok ? succeeded({ ...server.answer.value, ...what }) : server.answer);
  };
  const wire = credentials.credentials?.credentials;
  assert.ok(wire);
  const source = createNodeSource({
    gateway: {
      podRole: (_address, confirm) => answer(confirm, { role: 'reader' }),
      podCredentials: (_address, _role, confirm) => answer(confirm, { credentials: credentialsOf(wire) }),
      serverHealth: () => Promise.resolve(succeeded('ok')),
    },
    trust: new Trust({ clock, readEvidence: evidence }),
    store,
    isStoreKept: true,
    stream: {
      get isLive() {
        return stream.isLive;
      },
      silenceMs: () => (stream.isLive ? 0 : clock.monotonic() - stream.lostMs),
    },
    clock,
    serveStaleMs,
    metrics: createNodeMetrics(new Registry(), { size: () => store.size, silenceMs: () => 0 }),
  });
  const client = (): Client => ({ address: ADDRESS, evidence: evidence() });
  return {
    clock,
    kernel,
    store,
    asked,
    server,
    source,
    client,
    confirm: async () => assert.ok((await source.podCredentials(client(), 'reader', PATIENT)).ok),
    loseStream: (): void => {
      stream.isLive = false;
      stream.lostMs = clock.monotonic();
    },
    fromMemory: (role = 'reader') => source.knownCredentials?.(client(), role)?.accessKeyId,
    roleFromMemory: () => source.knownRole?.(client())?.role,
  };
}

describe('the memory of a node', () => {
  it('answers nothing before the API server was asked about the pod, then everything', async () => {
    for (const evidence of ['if-7', '-']) {
      const node = nodeThat({ evidence });
      assert.equal(node.fromMemory(), undefined);
      assert.equal(node.roleFromMemory(), undefined);
      await node.confirm();
      assert.equal(node.fromMemory(), 'ASIA-identity-1');
      assert.equal(node.roleFromMemory(), 'reader');
      assert.equal(node.source.knownUid?.(ADDRESS), 'uid-1');
      assert.deepEqual(node.asked, ['anew']);
    }
  });

  const spellings = [
    ['reader', 'reader', true],
    ['/reader', 'reader', true],
    ['/reader', '/reader', true],
    ['/team/reader', 'team/reader', true],
    ['reader', 'arn:aws:iam::1:role/reader', true],
    ['reader', 'writer', false],
    ['reader', '', false],
    ['reader', '/reader', false],
    ['', '', false],
    ['', '/', false],
  ] as const;
  for (const [annotated, asked, known] of spellings) {
    it(`${known ? 'gives' : 'leaves to the server'} '${asked}' to a pod annotated '${annotated}'`, async () => {
      const node = nodeThat();
      node.store.apply(podUpdate({ role: annotated, role_arn: 'arn:aws:iam::1:role/reader' }), node.clock);
      await node.confirm();
      assert.equal(node.fromMemory(asked) !== undefined, known);
    });
  }

  it('never answers for a pod whose role was denied or whose credentials have not come', async () => {
    for (const fields of [{ role_arn: '', identity: '' }, { identity: 'other' }]) {
      const node = nodeThat();
      await node.confirm();
      node.store.apply(podUpdate(fields), node.clock);
      assert.equal(node.fromMemory(), undefined);
      assert.equal(node.fromMemory(''), undefined);
      assert.equal(node.roleFromMemory(), 'reader');
    }
  });

  it('serves nothing with less than a minute of life, whichever clock says so', async () => {
    const node = nodeThat({ lifeMs: 100_000 });
    await node.confirm();
    await node.clock.advance(40_000);
    assert.equal(node.fromMemory(), 'ASIA-identity-1');
    node.clock.jumpWall(1);
    assert.equal(node.fromMemory(), undefined);
    node.clock.jumpWall(-86_400_000);
    assert.equal(node.fromMemory(), 'ASIA-identity-1');
    await node.clock.advance(1);
    assert.equal(node.fromMemory(), undefined);
  });

  it('asks for certainty when the kernel shows another interface', async () => {
    const node = nodeThat();
    await node.confirm();
    node.kernel.key = 'if-8';
    assert.equal(node.fromMemory(), undefined);
    assert.equal(node.roleFromMemory(), undefined);
    await node.source.podRole(node.client(), PATIENT);
    assert.deepEqual(node.asked, ['anew', 'certain']);
  });

  it('answers no connection of the former pod by what is known of the next', async () => {
    const node = nodeThat();
    const former = node.client();
    node.kernel.key = 'if-8';
    await node.confirm();
    assert.equal(node.source.knownCredentials?.(former, 'reader'), undefined);
    assert.ok(!(await node.source.podCredentials(former, 'reader', PATIENT)).ok);
  });

  it('does not pass on the answer for another pod than the one that the address is held to', async () => {
    const node = nodeThat();
    await node.confirm();
    node.server.answer = succeeded({ ...LISTED, uid: 'uid-2' });
    const outcome = await node.source.podCredentials(node.client(), 'reader', PATIENT);
    assert.deepEqual(outcome, failed('pod-not-found', 'no pod found'));
    assert.equal(node.fromMemory(), undefined);
  });

  it('passes on refusals as they are', async () => {
    const node = nodeThat();
    node.server.answer = failed('forbidden', 'forbidden by policy');
    assert.deepEqual(await node.source.podCredentials(node.client(), 'reader', PATIENT), node.server.answer);
  });
});

describe('the memory of a node that has lost its server', () => {
  const cases = [
    // [evidence, --serve-stale, milliseconds since the loss, answers]
    ['if-7', 30_000, 0, true],
    ['if-7', 30_000, 3_000_000, true],
    ['if-7', 0, 0, false],
    ['-', 30_000, 29_999, true],
    ['-', 30_000, 30_000, false],
    ['-', 3000, 2999, true],
    ['-', 3000, 3000, false],
    ['-', 600_000, 29_999, true],
    ['-', 600_000, 30_000, false],
    ['-', 0, 0, false],
  ] as const;
  for (const [evidence, serveStaleMs, afterMs, answers] of cases) {
    const what = evidence === '-' ? 'without evidence' : 'with evidence';
    it(`${what} and --serve-stale=${serveStaleMs}ms ${answers ? 'answers' : 'is silent'} after ${afterMs} ms`, async () => {
      const node = nodeThat({ evidence, serveStaleMs });
      await node.confirm();
      node.loseStream();
      await node.clock.advance(afterMs);
      assert.equal(node.fromMemory() !== undefined, answers);
      assert.equal(node.roleFromMemory() !== undefined, answers);
    });
  }

  it('ends with the credentials, whatever the kernel shows', async () => {
    const node = nodeThat();
    await node.confirm();
    node.loseStream();
    await node.clock.advance(3_540_000);
    assert.notEqual(node.fromMemory(), undefined);
    await node.clock.advance(1);
    assert.equal(node.fromMemory(), undefined);
  });
});
