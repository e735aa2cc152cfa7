import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Registry } from 'prom-client';

import { createNodeMetrics } from '#agent/node/metrics.ts';
import { createNodeSource } from '#agent/node/source.ts';
import { NodeStore } from '#agent/node/store.ts';
import { Trust } from '#agent/node/trust.ts';
import type { Client, Evidence } from '#agent/ports.ts';
import { failed, type Outcome, succeeded } from '#domain/failure.ts';
import { credentialsOf, type AddressCheck, type Holder, type PodBinding } from '#rpc/contract.ts';
import type { QuestionOptions } from '#rpc/gateway.ts';

import { ManualClock } from '../../../support/manual-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
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
  const stream = { isLive: true, isQuiet: false, lostMs: 0 };
  const audited: string[] = [];
  const asked: AddressCheck[] = [];
  const patience: (number | undefined)[] = [];
  /** Without an answer it takes for ever to find one; one that hangs answers nobody. */
  const server: { answer: Outcome<Holder> | undefined; isHung: boolean } = { answer: succeeded(LISTED), isHung: false };
  const store = new NodeStore();
  const credentials = credentialsUpdate('identity-1', clock.now() + lifeMs);
  store.apply(credentials, clock);
  store.apply(podUpdate(), clock);
  const questions: ('role' | 'credentials')[] = [];
  const sts: { failure: Outcome<never> | undefined } = { failure: undefined };
  const answer = <T>(how: QuestionOptions, what: T): Promise<Outcome<Holder & T>> => {
    asked.push(how.check);
    patience.push(how.giveUpAfterMs);
    if (server.answer === undefined) return new Promise(() => {});
    return Promise.resolve(server.answer.ok ? succeeded({ ...server.answer.value, ...what }) : server.answer);
  };
  const wire = credentials.credentials?.credentials;
  assert.ok(wire);
  const source = createNodeSource({
    gateway: {
      podRole: (_address, how) => {
        questions.push('role');
        return answer(how, { role: 'reader' });
      },
      podCredentials: (_address, _role, how) => {
        questions.push('credentials');
        return sts.failure === undefined
          ? answer(how, { credentials: credentialsOf(wire) })
          : Promise.resolve(sts.failure);
      },
      serverHealth: () => (server.isHung ? new Promise(() => {}) : Promise.resolve(succeeded('ok'))),
    },
    trust: new Trust({
      clock,
      logger: recordingLogger().logger,
      isElsewhere: () => false,
      readEvidence: evidence,
      maxAgeMs: () => store.maxViewAgeMs,
    }),
    store,
    isStoreKept: true,
    stream: {
      get isLive() {
        return stream.isLive;
      },
      get isHeard() {
        return stream.isLive && !stream.isQuiet;
      },
      silenceMs: () => (stream.isLive ? 0 : clock.monotonic() - stream.lostMs),
    },
    clock,
    serveStaleMs,
    audit: (served, { accessKeyId }) =>
      void audited.push(`${served.namespace}/${served.name} ${served.uid} ${served.roleArn} ${accessKeyId}`),
    metrics: createNodeMetrics(new Registry(), { size: () => store.size, silenceMs: () => 0 }),
  });
  /** A connection that is new, or was there from the beginning. */
  const client = (acceptedMs = clock.monotonic()): Client => ({ address: ADDRESS, evidence: evidence(), acceptedMs });
  return {
    clock,
    kernel,
    store,
    asked,
    audited,
    patience,
    questions,
    sts,
    stream,
    server,
    source,
    client,
    confirm: async () => assert.ok((await source.podCredentials(client(), 'reader', PATIENT)).ok),
    /** The server keeps its connection and answers nobody, though its stream was heard just now. */
    hang: (): void => {
      server.answer = undefined;
      server.isHung = true;
    },
    loseStream: (): void => {
      stream.isLive = false;
      stream.lostMs = clock.monotonic();
    },
    fromMemory: (role = 'reader') => source.knownCredentials(client(0), role)?.accessKeyId,
    roleFromMemory: () => source.knownRole(client(0))?.role,
  };
}

describe('the memory of a node', () => {
  it('the memory of a node answers nothing before the API server was asked about the pod, then everything', async () => {
    for (const evidence of ['if-7', '-']) {
      const node = nodeThat({ evidence });
      assert.equal(node.fromMemory(), undefined);
      assert.equal(node.roleFromMemory(), undefined);
      await node.confirm();
      assert.equal(node.fromMemory(), 'ASIA-identity-1');
      assert.equal(node.roleFromMemory(), 'reader');
      assert.equal(node.source.knownUid(ADDRESS), 'uid-1');
      assert.deepEqual(node.asked, ['read']);
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
    it(`the memory of a node ${known ? 'gives' : 'leaves to the server'} '${asked}' to a pod annotated '${annotated}'`, async () => {
      const node = nodeThat();
      node.store.apply(podUpdate({ role: annotated, role_arn: 'arn:aws:iam::1:role/reader' }), node.clock);
      await node.confirm();
      assert.equal(node.fromMemory(asked) !== undefined, known);
    });
  }

  it('the memory of a node never answers for a pod whose role was denied or whose credentials have not come', async () => {
    for (const fields of [{ role_arn: '', identity: '' }, { identity: 'other' }]) {
      const node = nodeThat();
      await node.confirm();
      node.store.apply(podUpdate(fields), node.clock);
      assert.equal(node.fromMemory(), undefined);
      assert.equal(node.fromMemory(''), undefined);
      assert.equal(node.roleFromMemory(), 'reader');
    }
  });

  it('the memory of a node serves nothing with less than a minute of life, whichever clock says so', async () => {
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

  it('the memory of a node asks for certainty when the kernel shows another interface', async () => {
    const node = nodeThat();
    await node.confirm();
    node.kernel.key = 'if-8';
    assert.equal(node.fromMemory(), undefined);
    assert.equal(node.roleFromMemory(), undefined);
    await node.source.podRole(node.client(), PATIENT);
    assert.deepEqual(node.asked, ['read', 'read-or-refuse']);
  });

  it('the memory of a node answers no connection of the former pod by what is known of the next', async () => {
    const node = nodeThat();
    const former = node.client();
    node.kernel.key = 'if-8';
    await node.confirm();
    assert.equal(node.source.knownCredentials(former, 'reader'), undefined);
    assert.ok(!(await node.source.podCredentials(former, 'reader', PATIENT)).ok);
  });

  it('the memory of a node does not pass on the answer for another pod than the one that the address is held to', async () => {
    const node = nodeThat();
    await node.confirm();
    node.server.answer = succeeded({ ...LISTED, uid: 'uid-2' });
    const outcome = await node.source.podCredentials(node.client(), 'reader', PATIENT);
    assert.deepEqual(outcome, failed('pod-not-found', 'no pod found'));
    assert.equal(node.fromMemory(), undefined);
  });

  it('the memory of a node passes on refusals as they are', async () => {
    const node = nodeThat();
    node.server.answer = failed('forbidden', 'forbidden by policy');
    assert.deepEqual(await node.source.podCredentials(node.client(), 'reader', PATIENT), node.server.answer);
  });
});

describe('the memory of a node without evidence', () => {
  it('the memory of a node without evidence asks once for each connection, and again when that was long ago', async () => {
    const node = nodeThat({ evidence: '-' });
    await node.confirm();
    const kept = node.client();
    for (let second = 0; second < 29; second += 1) {
      await node.clock.advance(1000);
      assert.notEqual(node.source.knownCredentials(kept, 'reader'), undefined);
    }
    const another = node.client();
    assert.equal(node.source.knownCredentials(another, 'reader'), undefined);
    await node.source.podRole(another, PATIENT);
    assert.notEqual(node.source.knownCredentials(another, 'reader'), undefined);
    await node.clock.advance(30_000);
    assert.equal(node.source.knownCredentials(another, 'reader'), undefined);
    await node.source.podRole(kept, PATIENT);
    assert.notEqual(node.source.knownCredentials(another, 'reader'), undefined);
    assert.deepEqual(node.asked, ['read', 'read', 'read']);
  });

  it('the memory of a node without evidence keeps to the time that the server has told', async () => {
    const node = nodeThat({ evidence: '-' });
    node.store.apply({ synced: { max_view_age_ms: 2000 } }, node.clock);
    node.store.apply(podUpdate(), node.clock);
    await node.confirm();
    await node.clock.advance(1999);
    assert.equal(node.roleFromMemory(), 'reader');
    await node.clock.advance(1);
    assert.equal(node.roleFromMemory(), undefined);
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

  const newConnections = [
    // [what the question comes to, is the stream live, milliseconds since the pod was confirmed, answers]
    ['server-unavailable', false, 29_998, true],
    ['server-unavailable', false, 30_000, false],
    ['server-unavailable', true, 0, true],
    ['view-stale', true, 29_998, true],
    ['timed-out', false, 0, false],
    ['timed-out', true, 0, false],
    ['pod-not-found', false, 0, false],
    ['multiple-pods', true, 0, false],
    ['forbidden', true, 0, false],
  ] as const;
  for (const [kind, isLive, afterMs, answers] of newConnections) {
    const what = `${kind}, with its stream ${isLive ? 'there' : 'lost'}, ${afterMs} ms after the pod was confirmed`;
    it(`the memory of a node ${answers ? 'answers' : 'refuses'} a new connection without evidence: ${what}`, async () => {
      const node = nodeThat({ evidence: '-' });
      await node.confirm();
      if (!isLive) node.loseStream();
      await node.clock.advance(afterMs + 1);
      node.server.answer = failed(kind, 'why');
      const client = node.client();
      assert.equal(node.source.knownCredentials(client, 'reader'), undefined);
      assert.equal(node.source.knownRole(client), undefined);
      const [role, credentials, others] = await Promise.all([
        node.source.podRole(client, PATIENT),
        node.source.podCredentials(client, 'reader', PATIENT),
        node.source.podCredentials(client, 'writer', PATIENT),
      ]);
      assert.deepEqual([role.ok, credentials.ok, others.ok], [answers, answers, false]);
      // Who the client is is asked once, for its role and for the credentials that are in hand; 'writer' for itself.
      const expected = [afterMs < 30_000 ? 250 : undefined, undefined];
      assert.deepEqual(
        node.patience.slice(1, 3),
        expected,
        'whoever has something to fall back on asks for a while only',
      );
    });
  }

  it('the memory of a node that has lost its server answers from memory whoever has the address for certain, while STS is slow or fails for the server that is asked', async () => {
    const node = nodeThat({ evidence: '-' });
    const failure = failed('sts-unavailable', 'AWS STS is not available');
    node.sts.failure = failure;
    const outcome = await node.source.podCredentials(node.client(), 'reader', PATIENT);
    assert.ok(outcome.ok);
    assert.equal(outcome.value.accessKeyId, 'ASIA-identity-1');
    assert.deepEqual(node.questions, ['role']);
  });

  const contradictions: readonly (readonly [string, Partial<Holder>, Partial<PodBinding>])[] = [
    ['another pod', { uid: 'uid-2' }, {}],
    ['another role', { roleArn: 'arn:aws:iam::1:role/other' }, {}],
    ['no role', { roleArn: '' }, {}],
    ['another identity', {}, { identity: 'identity-2' }],
  ];
  for (const [what, holder, binding] of contradictions) {
    it(`the memory of a node that has lost its server leaves it to the server, whatever STS does, when that tells of ${what}`, async () => {
      const node = nodeThat({ evidence: '-' });
      const failure = failed('sts-unavailable', 'AWS STS is not available');
      node.sts.failure = failure;
      node.server.answer = succeeded({ ...LISTED, ...holder });
      node.store.apply(podUpdate(binding), node.clock);
      assert.deepEqual(await node.source.podCredentials(node.client(), 'reader', PATIENT), failure);
    });
  }

  it('the memory of a node that has lost its server asks as patiently as ever for a pod that the kernel holds and whose credentials have not come', async () => {
    const node = nodeThat();
    await node.confirm();
    node.store.apply(podUpdate({ identity: 'other' }), node.clock);
    await node.source.podCredentials(node.client(), 'reader', PATIENT);
    assert.deepEqual(node.patience, [undefined, undefined]);
  });

  it('the memory of a node that has lost its server answers a new connection without evidence after 200 ms while a silent server hangs, whatever else asks', async () => {
    const node = nodeThat({ evidence: '-' });
    await node.confirm();
    node.hang();
    for (let second = 1; second <= 25; second += 1) {
      const client = node.client();
      const answers: string[] = [];
      const note = (outcome: Outcome<object>): void => void answers.push(outcome.ok ? 'ok' : outcome.failure.kind);
      const asking = [
        node.source.podRole(client, PATIENT).then(note),
        node.source.podCredentials(client, 'reader', PATIENT).then(note),
        node.source.podCredentials(client, 'reader', PATIENT).then(note),
      ];
      void node.source.podCredentials(client, 'writer', PATIENT).then(note);
      await node.clock.advance(199);
      assert.deepEqual(answers, []);
      await node.clock.advance(1);
      await Promise.all(asking);
      assert.deepEqual(answers, ['ok', 'ok', 'ok'], 'and nothing for a role that is not its own');
      await node.clock.advance(800);
    }
  });

  it('the memory of a node that has lost its server answers a question soon whose servers fall silent meanwhile', async () => {
    const node = nodeThat({ evidence: '-' });
    await node.confirm();
    node.server.answer = undefined;
    const asking = node.source.podCredentials(node.client(), 'reader', PATIENT);
    await node.clock.advance(300);
    node.server.isHung = true;
    await node.clock.advance(200);
    assert.ok((await asking).ok);
  });

  it('the memory of a node that has lost its server waits for a server that takes long and answers others, whether its stream is there or not', async () => {
    for (const losesStream of [false, true]) {
      const node = nodeThat({ evidence: '-' });
      await node.confirm();
      node.server.answer = undefined;
      let isAnswered = false;
      void node.source.podCredentials(node.client(), 'reader', PATIENT).then(() => (isAnswered = true));
      if (losesStream) node.loseStream();
      await node.clock.advance(10_000);
      assert.equal(isAnswered, false);
    }
  });

  it('the memory of a node that has lost its server ends with the credentials, whatever the kernel shows', async () => {
    const node = nodeThat();
    await node.confirm();
    node.loseStream();
    await node.clock.advance(3_540_000);
    assert.notEqual(node.fromMemory(), undefined);
    await node.clock.advance(1);
    assert.equal(node.fromMemory(), undefined);
  });

  it('the memory of a node that has lost its server knows of the credentials that it gives, from memory or from a server, in which account their role is', async () => {
    const { source } = nodeThat();
    const client: Client = { address: ADDRESS, evidence: { kind: 'interface', key: 'if-7' }, acceptedMs: 0 };
    const given = await source.podCredentials(client, 'reader', PATIENT);
    assert.ok(given.ok);
    assert.equal(source.roleArnOf(client, given.value), LISTED.roleArn);
    const known = source.knownCredentials(client, 'reader');
    assert.ok(known);
    assert.equal(source.roleArnOf(client, known), LISTED.roleArn);
    assert.equal(source.roleArnOf({ ...client, address: '192.0.2.9' }, { ...known }), '');
  });
});

describe('what a node remembers of refusals', () => {
  /** A node whose one pod was refused `role`, which the server says stands for so long. */
  async function refusedOnce({ role = 'writer', evidence = 'if-7', standsForMs = 2000, binding = {} } = {}) {
    const node = nodeThat({ evidence });
    node.store.apply(podUpdate(binding), node.clock);
    node.sts.failure = { ok: false, failure: { ...FORBIDDEN, standsForMs } };
    const ask = async (asked = role): Promise<string> => {
      const outcome = await node.source.podCredentials(node.client(), asked, PATIENT);
      return outcome.ok ? 'ok' : outcome.failure.kind;
    };
    assert.equal(await ask(), 'forbidden');
    const asked = (): number => node.questions.filter((question) => question === 'credentials').length;
    assert.equal(asked(), 1);
    return { node, ask, asked };
  }
  const FORBIDDEN = { kind: 'forbidden', message: 'forbidden by policy' } as const;

  for (const evidence of ['if-7', '-']) {
    it(`a refusal is repeated for as long as the server said, ${evidence === '-' ? 'without' : 'with'} evidence`, async () => {
      const { node, ask, asked } = await refusedOnce({ evidence });
      for (let past = 0; past < 19; past += 1) {
        await node.clock.advance(100);
        assert.equal(await ask(), 'forbidden');
      }
      assert.equal(asked(), 1);
      await node.clock.advance(100);
      assert.equal(await ask(), 'forbidden');
      assert.equal(asked(), 2);
    });
  }

  it('a refusal is repeated for three seconds at most, whatever the server says', async () => {
    const { node, ask, asked } = await refusedOnce({ standsForMs: 600_000 });
    await node.clock.advance(2999);
    await ask();
    assert.equal(asked(), 1);
    await node.clock.advance(1);
    await ask();
    assert.equal(asked(), 2);
  });

  it('a refusal that the server does not say stands is not repeated', async () => {
    const { ask, asked } = await refusedOnce({ standsForMs: 0 });
    await ask();
    assert.equal(asked(), 2);
  });

  const revocations: readonly (readonly [string, (node: ReturnType<typeof nodeThat>) => unknown])[] = [
    ['the pod is told of anew', (node) => node.store.apply(podUpdate(), node.clock)],
    ['its role is another', (node) => node.store.apply(podUpdate({ role: 'third' }), node.clock)],
    ['another pod has the address', (node) => node.store.apply(podUpdate({ uid: 'uid-2' }), node.clock)],
    ['the pod is gone', (node) => node.store.apply({ gone: { uid: 'uid-1' } }, node.clock)],
    ['the stream is lost', (node) => node.loseStream()],
    ['the stream is silent', (node) => (node.stream.isQuiet = true)],
    ['the kernel shows another interface', (node) => (node.kernel.key = 'if-8')],
    ['the kernel shows nothing', (node) => (node.kernel.key = '-')],
  ];
  for (const [what, happens] of revocations) {
    it(`a refusal is not repeated once ${what}`, async () => {
      const { node, ask, asked } = await refusedOnce();
      happens(node);
      await ask();
      assert.equal(asked(), 2);
    });
  }

  it('an answer is not remembered of a pod that was told of again while the server was asked', async () => {
    const node = nodeThat();
    node.sts.failure = { ok: false, failure: { ...FORBIDDEN, standsForMs: 2000 } };
    const asking = node.source.podCredentials(node.client(), 'writer', PATIENT);
    node.store.apply(podUpdate(), node.clock);
    await asking;
    await node.source.podCredentials(node.client(), 'writer', PATIENT);
    assert.deepEqual(node.questions, ['credentials', 'credentials']);
  });

  it("a refusal of the pod's own role by a server that knows less than its stream is not remembered, one of STS is", async () => {
    for (const [kind, count] of [
      ['forbidden', 2],
      ['sts-refused', 1],
    ] as const) {
      const node = nodeThat();
      node.store.apply(podUpdate({ identity: 'without-credentials' }), node.clock);
      node.sts.failure = { ok: false, failure: { kind, message: 'no', standsForMs: 2000 } };
      for (let time = 0; time < 2; time += 1) await node.source.podCredentials(node.client(), 'reader', PATIENT);
      assert.equal(node.questions.length, count, kind);
    }
  });

  it('a pod that tries one role after another has eight of them asked for', async () => {
    const { node, ask, asked } = await refusedOnce();
    for (let index = 0; index < 1000; index += 1) assert.equal(await ask(`other-${index}`), 'forbidden');
    assert.equal(asked(), 8);
    node.sts.failure = undefined;
    assert.equal(await ask('arn:aws:iam::1:role/other'), 'forbidden');
    assert.equal(await ask('reader'), 'ok', 'its own role is not among them');
    node.store.apply(podUpdate({ identity: 'without-credentials' }), node.clock);
    for (const spelling of ['reader', '/reader', 'arn:aws:iam::1:role/reader']) assert.equal(await ask(spelling), 'ok');
  });

  it('a pod without a role is told so again, whatever it asks for', async () => {
    const node = nodeThat();
    node.store.apply(podUpdate({ role: '', role_arn: '', identity: '' }), node.clock);
    const empty = {
      ok: false,
      failure: { kind: 'role-empty', message: "role can't be empty", standsForMs: 2000 },
    } as const;
    node.sts.failure = empty;
    for (let index = 0; index < 100; index += 1) {
      assert.deepEqual(await node.source.podCredentials(node.client(), `role-${index}`, PATIENT), empty);
    }
    assert.equal(node.questions.length, 1);
  });
});

describe('the audit log of the node', () => {
  it('is told of a serving from memory and of one by a server, with the pod, and of no refusal', async () => {
    const node = nodeThat();
    assert.deepEqual(node.audited, []);
    await node.confirm();
    node.fromMemory();
    assert.equal(node.audited.length, 2);
    assert.equal(new Set(node.audited).size, 1, 'the same pod and set');
    assert.match(node.audited[0] ?? '', /^\S*\/app uid-1 arn:aws:iam::1:role\/reader \S+$/);
    node.fromMemory('another');
    node.sts.failure = failed('forbidden', 'forbidden by policy');
    await node.source.podCredentials(node.client(), 'another', PATIENT);
    assert.equal(node.audited.length, 2);
  });

  it('is told of the UID and the role that a server said where the stream has not told of the pod', async () => {
    const node = nodeThat();
    node.store.apply({ gone: { uid: 'uid-1' } }, node.clock);
    await node.confirm();
    assert.match(node.audited[0] ?? '', /^\/ uid-1 arn:aws:iam::1:role\/reader \S+$/);
  });
});
