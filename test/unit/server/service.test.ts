import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { NO_ATTRIBUTION, plainSessions } from '#domain/attribution.ts';
import type { Credentials, CredentialOutcome } from '#domain/credentials.ts';
import { failed, refused } from '#domain/failure.ts';
import type { Identity } from '#domain/identity.ts';
import type { NamespaceRecord } from '#domain/namespace.ts';
import { isOnNode, type Asker } from '#domain/node.ts';
import type { NodeReport } from '#domain/node-readiness.ts';
import type { PodRecord, PodLookup } from '#domain/pod.ts';
import { NamespacePolicy } from '#server/namespace-policy.ts';
import type { Scope } from '#server/agent-scope.ts';
import type { AddressVerdict } from '#server/confirmation.ts';
import { NodeReports } from '#server/node-reports.ts';
import { createService } from '#server/service.ts';
import { podFields } from '#telemetry/fields.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const BASE = 'arn:aws:iam::123456789012:role/';

/** A server's service over a cluster that a test changes at will. */
function world() {
  const clock = new ManualClock();
  const pods = new Map<string, PodRecord[]>();
  const namespaces = new Map<string, NamespaceRecord>([['default', { name: 'default', permitted: '.*' }]]);
  const asked: Identity[] = [];
  const warnings: string[] = [];
  const notes: string[] = [];
  const waiting = new Set<() => void>();
  const confirmations: string[] = [];
  let verdict: (pod: PodRecord) => Promise<AddressVerdict> = () => Promise.resolve({ kind: 'holds', ageMs: 0 });
  let scope: Scope = { kind: 'any' };
  const { logger, lines } = recordingLogger();
  let sts: (identity: Identity) => Promise<CredentialOutcome> = (identity) =>
    Promise.resolve({ ok: true, value: credentialsOf(identity) });

  const find = (address: string, { node }: Asker = {}): PodLookup => {
    const claimants = pods.get(address) ?? [];
    const [pod, ...others] = node === undefined ? claimants : claimants.filter((one) => isOnNode(one, node));
    if (pod === undefined) return { kind: 'none' };
    return others.length === 0 ? { kind: 'found', pod } : { kind: 'ambiguous', pods: [pod, ...others] };
  };
  const waitFor = (address: string, signal: AbortSignal, asker?: Asker): Promise<PodLookup> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (find(address, asker).kind === 'none' && !signal.aborted) return;
        waiting.delete(look);
        resolve(find(address, asker));
      };
      waiting.add(look);
      signal.addEventListener('abort', look);
      look();
    });
  const reports = new NodeReports();
  const service = createService({
    pods: {
      find,
      waitFor,
      byUid: () => undefined,
      pods: () => [],
      subscribe: (listener) => {
        const look = (): void => listener({ previous: undefined, current: undefined });
        waiting.add(look);
        return () => waiting.delete(look);
      },
    },
    policy: new NamespacePolicy({
      namespaces: { get: (name) => namespaces.get(name) },
      baseArn: BASE,
      strict: true,
      listFormat: 'glob',
      logger,
    }),
    credentials: {
      get: (identity) => {
        asked.push(identity);
        return sts(identity);
      },
    },
    confirmation: {
      confirm: (pod, how) => {
        confirmations.push(`${pod.uid} ${how}`);
        return verdict(pod);
      },
    },
    scope: { of: () => Promise.resolve(scope) },
    reports,
    events: { warning: (pod, reason, message) => void warnings.push(`${pod.name} ${reason} ${message}`) },
    logger,
    clock,
    sessions: plainSessions('kiam'),
    noteAsked: (pod, isWatching) => void notes.push(`${pod.uid} ${isWatching ? 'watching' : 'without a stream'}`),
  });
  const context = {
    signal: new AbortController().signal,
    remainingMs: 900,
    peer: '198.51.100.1:40000',
    token: '',
    certificate: () => '',
  };
  return {
    clock,
    asked,
    warnings,
    lines,
    namespaces,
    put: (...records: PodRecord[]): void => {
      for (const record of records) for (const address of record.addresses) pods.set(address, records);
      for (const look of waiting) look();
    },
    confirmations,
    confirmBy: (answer: typeof verdict): void => {
      verdict = answer;
    },
    holdAgentTo: (wanted: Scope): void => {
      scope = wanted;
    },
    drop: (address: string): void => void pods.delete(address),
    answerBy: (answer: typeof sts): void => {
      sts = answer;
    },
    reports,
    report: (peer: string, report: NodeReport) =>
      service.ReportNode({ ...report, details: null }, { ...context, peer }),
    role: (ip: string, confirm?: number) =>
      service.GetPodRole({ ip, ...(confirm === undefined ? {} : { confirm }) }, context),
    credentials: (ip: string, role: string, remainingMs = 900) =>
      service.GetPodCredentials({ ip, role }, { ...context, remainingMs }),
  };
}

function refusedBySts(detail: string): CredentialOutcome {
  return { ok: false, failure: { kind: 'sts-refused', message: 'AccessDenied' }, detail };
}

function credentialsOf(identity: Identity): Credentials {
  return {
    accessKeyId: `ASIA-${identity.roleArn}`,
    secretAccessKey: 'SECRET',
    sessionToken: 'TOKEN',
    expiresAtMs: Date.UTC(2026, 0, 1, 1),
    issuedAtMs: Date.UTC(2026, 0, 1),
  };
}

describe('ReportNode', () => {
  const here = { by: 'name', name: 'node-1' } as const;
  const there = { by: 'name', name: 'node-2' } as const;
  const ready = { ready: true, reason: 'AgentReady', message: 'all is well' };
  const keyOf = ({ name }: { readonly name: string }): readonly string[] => [`name ${name}`];

  it('ReportNode is taken from an agent for the node that is proven of it, over the connection of its stream', async () => {
    const server = world();
    server.reports.opened(here, '192.0.2.1:1');
    server.reports.opened(there, '192.0.2.2:1');
    server.holdAgentTo({ kind: 'node', node: here });
    assert.equal((await server.report('192.0.2.1:1', ready)).ok, true);
    assert.deepEqual(server.reports.of(keyOf(here)), [ready]);
    assert.deepEqual(server.reports.of(keyOf(there)), []);
  });

  for (const [who, scope, peer] of [
    ['an agent without a stream', { kind: 'node', node: here }, '192.0.2.9:1'],
    ['the agent of another node, over the connection of that node', { kind: 'node', node: there }, '192.0.2.1:1'],
    ['an agent whose node is not known', { kind: 'any' }, '192.0.2.1:1'],
    ['a caller that is refused', { kind: 'refused' }, '192.0.2.1:1'],
    ['an agent that cannot be reviewed now', { kind: 'unknown' }, '192.0.2.1:1'],
  ] as const) {
    it(`ReportNode is not taken from ${who}`, async () => {
      const server = world();
      server.reports.opened(here, '192.0.2.1:1');
      server.holdAgentTo(scope);
      const outcome = await server.report(peer, ready);
      assert.equal(outcome.ok, false);
      assert.deepEqual([...server.reports.of(keyOf(here)), ...server.reports.of(keyOf(there))], []);
    });
  }

  it('ReportNode counts until its stream ends, and what an agent writes becomes one line and a word', async () => {
    const server = world();
    const end = server.reports.opened(here, '192.0.2.1:1');
    server.holdAgentTo({ kind: 'node', node: here });
    await server.report('192.0.2.1:1', {
      ready: false,
      reason: 'not a word',
      message: `two\nlines ${'x'.repeat(5000)}`,
    });
    const [report] = server.reports.of(keyOf(here));
    assert.equal(report?.reason, 'AgentNotReady');
    assert.match(report?.message ?? '', /^two lines x{1014}…$/);
    end();
    assert.deepEqual(server.reports.of(keyOf(here)), []);
  });
});

describe('GetPodRole', () => {
  it('GetPodRole answers the role exactly as annotated', async () => {
    const server = world();
    server.put(podRecord({ role: '/team-a/app' }));
    assert.deepEqual(await server.role('192.0.2.1'), {
      ok: true,
      value: { name: '/team-a/app', uid: 'uid-1', role_arn: `${BASE}team-a/app`, view_age_ms: 0 },
    });
    assert.deepEqual(await server.role('::ffff:192.0.2.1'), {
      ok: true,
      value: { name: '/team-a/app', uid: 'uid-1', role_arn: `${BASE}team-a/app`, view_age_ms: 0 },
    });
  });

  it('GetPodRole waits for a pod that is not known yet, and answers as soon as it is', async () => {
    const server = world();
    const asking = server.role('192.0.2.1');
    await server.clock.advance(500);
    server.put(podRecord());
    assert.deepEqual(await asking, {
      ok: true,
      value: { name: 'reader', uid: 'uid-1', role_arn: `${BASE}reader`, view_age_ms: 0 },
    });
    assert.equal(server.clock.monotonic(), 500);
  });

  it('GetPodRole answers at once for a caller with little or no time left that asks for an unknown pod', async () => {
    const asked = world();
    for (const remainingMs of [50, 1, 0, -5]) {
      const outcome = await asked.credentials('192.0.2.9', 'reader', remainingMs);
      assert.equal(outcome.ok ? '' : outcome.failure.kind, 'pod-not-found', `${remainingMs} ms`);
    }
  });

  it('GetPodRole gives up a little before its caller does', async () => {
    const server = world();
    const asking = server.role('192.0.2.1');
    await server.clock.advance(850);
    assert.deepEqual(await asking, failed('pod-not-found', 'pod not found'));
  });

  it('GetPodRole refuses an address that two pods claim, and what is no address', async () => {
    const server = world();
    server.put(podRecord(), podRecord({ uid: 'uid-2', name: 'pod-2' }));
    assert.deepEqual(await server.role('192.0.2.1'), failed('multiple-pods', 'multiple running pods found'));
    assert.deepEqual(await server.role('../etc/passwd'), failed('pod-not-found', 'pod not found'));
  });
});

describe('GetPodCredentials', () => {
  it('GetPodCredentials answers credentials in the form of the metadata API', async () => {
    const server = world();
    server.put(podRecord({ sessionName: 'mine', externalId: 'ext-42' }));
    const answer = await server.credentials('192.0.2.1', 'reader');
    assert.deepEqual(answer, {
      ok: true,
      value: {
        code: 'Success',
        type: 'AWS-HMAC',
        access_key_id: `ASIA-${BASE}reader`,
        secret_access_key: 'SECRET',
        token: 'TOKEN',
        expiration: '2026-01-01T01:00:00Z',
        last_updated: '2026-01-01T00:00:00Z',
        uid: 'uid-1',
        role_arn: `${BASE}reader`,
        view_age_ms: 0,
      },
    });
    assert.deepEqual(server.asked, [
      { roleArn: `${BASE}reader`, sessionName: 'mine', externalId: 'ext-42', attribution: NO_ATTRIBUTION },
    ]);
  });

  it('GetPodCredentials uses the session name of the server where the pod annotates none', async () => {
    const server = world();
    server.put(podRecord());
    await server.credentials('192.0.2.1', 'reader');
    assert.equal(server.asked[0]?.sessionName, 'kiam');
  });

  it('GetPodCredentials refuses by policy without asking STS, and says so in log and Event but not to the caller', async () => {
    const server = world();
    server.put(podRecord());
    assert.deepEqual(
      await server.credentials('192.0.2.1', 'writer'),
      refused('forbidden', 'forbidden by policy', 3000),
    );
    assert.deepEqual(server.asked, []);
    const explanation = "requested 'writer' but annotated with 'reader', forbidden";
    assert.deepEqual(server.warnings, [`pod-1 KiamRoleForbidden failed assuming role "writer": ${explanation}`]);
    const denial = server.lines.find((line) => line.level === 'error');
    assert.equal(denial?.fields['policy.explanation'], explanation);
    assert.equal(denial?.fields['pod.iam.requestedRole'], 'writer');
  });

  it('GetPodCredentials answers a pod without a role at once', async () => {
    const server = world();
    server.put(podRecord({ role: '' }));
    assert.deepEqual(
      await server.credentials('192.0.2.1', 'reader'),
      refused('role-empty', "role can't be empty", 3000),
    );
  });

  it('GetPodCredentials names the pod in the log when STS refuses, in the words of Kiam', async () => {
    const server = world();
    server.put(podRecord());
    server.answerBy(() => Promise.resolve(refusedBySts('AccessDenied: no')));
    await server.credentials('192.0.2.1', 'reader');
    assert.deepEqual(
      server.lines.filter(({ level }) => level === 'error'),
      [
        {
          level: 'error',
          message: 'error retrieving credentials: AccessDenied: no',
          fields: { ...podFields(podRecord()), 'pod.iam.requestedRole': 'reader' },
        },
      ],
    );
  });

  it('GetPodCredentials logs the same failure of a pod once in ten seconds, however often the pod asks', async () => {
    const server = world();
    server.put(podRecord());
    const texts = (): string[] => server.lines.filter(({ level }) => level === 'error').map(({ message }) => message);
    const ask = async (detail: string): Promise<number> => {
      server.answerBy(() => Promise.resolve(refusedBySts(detail)));
      for (let time = 0; time < 100; time += 1) await server.credentials('192.0.2.1', 'reader');
      return texts().length;
    };
    assert.equal(await ask('AccessDenied: no'), 1);
    assert.equal(await ask('Throttling: Rate exceeded'), 2);
    await server.clock.advance(9999);
    assert.equal(await ask('AccessDenied: no'), 2);
    await server.clock.advance(1);
    assert.equal(await ask('AccessDenied: no'), 3);
    server.put(podRecord({ uid: 'uid-2', name: 'pod-2' }));
    assert.equal(await ask('AccessDenied: no'), 4);
    assert.equal(server.warnings.length, 500, 'Events have limits of their own');
  });

  it('GetPodCredentials passes a failure of STS on, and its text to log and Event alone', async () => {
    const server = world();
    server.put(podRecord());
    server.answerBy(() =>
      Promise.resolve({
        ok: false,
        failure: { kind: 'sts-refused', message: 'AccessDenied' },
        detail: 'AccessDenied: User: arn:aws:iam::1:role/kiam-server is not authorized',
      }),
    );
    assert.deepEqual(await server.credentials('192.0.2.1', 'reader'), {
      ok: false,
      failure: { kind: 'sts-refused', message: 'AccessDenied' },
      detail: 'AccessDenied: User: arn:aws:iam::1:role/kiam-server is not authorized',
    });
    assert.deepEqual(server.warnings, [
      'pod-1 KiamCredentialError failed retrieving credentials: AccessDenied: User: arn:aws:iam::1:role/kiam-server is not authorized',
    ]);
  });

  for (const [what, change] of [
    ['the pod has gone', (server) => server.drop('192.0.2.1')],
    ['another pod has the address, under the same name and role', (server) => server.put(podRecord({ uid: 'uid-2' }))],
    ['its role was changed', (server) => server.put(podRecord({ role: 'writer' }))],
    ['its session name was changed', (server) => server.put(podRecord({ sessionName: 'other' }))],
    ['a second pod claims the address', (server) => server.put(podRecord(), podRecord({ uid: 'uid-2' }))],
    [
      'its namespace permits it no longer',
      (server) => server.namespaces.set('default', { name: 'default', permitted: 'x' }),
    ],
    ['its namespace has gone', (server) => server.namespaces.delete('default')],
  ] as const satisfies readonly (readonly [string, (server: ReturnType<typeof world>) => void])[]) {
    it(`GetPodCredentials refuses when, while STS was asked, ${what}`, async () => {
      const server = world();
      server.put(podRecord());
      server.answerBy((identity) => {
        change(server);
        return Promise.resolve({ ok: true, value: credentialsOf(identity) });
      });
      assert.deepEqual(await server.credentials('192.0.2.1', 'reader'), failed('pod-not-found', 'no pod found'));
    });
  }
});

describe('what the watch says of an address is made sure of', () => {
  it('the API server confirms what the watch says of an address, unless it did recently for Kiam’s agents, and as asked for by ours', async () => {
    const server = world();
    server.put(podRecord());
    await server.role('192.0.2.1');
    await server.role('192.0.2.1', 1);
    await server.role('192.0.2.1', 2);
    await server.role('192.0.2.1', 99);
    await server.credentials('192.0.2.1', 'reader');
    assert.deepEqual(server.confirmations, [
      'uid-1 read-unless-recent',
      'uid-1 read',
      'uid-1 read-or-refuse',
      'uid-1 read-or-refuse',
      'uid-1 read-unless-recent',
    ]);
  });

  it('when the pod has lost its address, nothing of that pod is answered: the watch is waited for', async () => {
    const server = world();
    server.put(podRecord());
    server.confirmBy((pod) => Promise.resolve(pod.uid === 'uid-1' ? { kind: 'moved' } : { kind: 'holds', ageMs: 0 }));
    const asking = [server.role('192.0.2.1'), server.credentials('192.0.2.1', 'reader')];
    await server.clock.advance(850);
    for (const answer of await Promise.all(asking)) assert.ok(!answer.ok && answer.failure.kind === 'pod-not-found');
  });

  it('the name of a role is not told when the address changes hands meanwhile', async () => {
    const server = world();
    server.put(podRecord());
    server.confirmBy(() => {
      server.put(podRecord({ uid: 'uid-2', name: 'pod-2', role: 'writer' }));
      return Promise.resolve({ kind: 'holds', ageMs: 0 });
    });
    assert.deepEqual(await server.role('192.0.2.1'), failed('pod-not-found', 'pod not found'));
  });

  it('when nobody can be asked about an address, the answer is none', async () => {
    const server = world();
    server.put(podRecord());
    server.confirmBy(() => Promise.resolve({ kind: 'unsure' }));
    for (const answer of [await server.role('192.0.2.1'), await server.credentials('192.0.2.1', 'reader')]) {
      assert.ok(!answer.ok && answer.failure.kind === 'view-stale');
    }
  });
});

describe('an agent that is held to its node', () => {
  it('an agent that is held to its node gets the pods of that node', async () => {
    const server = world();
    server.put(podRecord({ nodeName: 'node-1' }));
    server.holdAgentTo({ kind: 'node', node: { by: 'name', name: 'node-1' } });
    assert.ok((await server.credentials('192.0.2.1', 'reader')).ok);
  });

  it('an agent that is held to its node gets for a pod of another node what it gets for none, and as late', async () => {
    const server = world();
    server.put(podRecord({ nodeName: 'node-2' }));
    server.holdAgentTo({ kind: 'node', node: { by: 'name', name: 'node-1' } });
    const answers: unknown[] = [];
    for (const address of ['192.0.2.1', '192.0.2.99']) {
      void server
        .credentials(address, 'reader')
        .then((answer) => answers.push([address, server.clock.monotonic(), answer]));
    }
    await server.clock.advance(849);
    assert.deepEqual(answers, []);
    await server.clock.advance(1);
    const notFound = failed('pod-not-found', 'no pod found');
    assert.deepEqual(answers.toSorted(), [
      ['192.0.2.1', 850, notFound],
      ['192.0.2.99', 850, notFound],
    ]);
    assert.deepEqual(server.asked, []);
  });

  it('an agent that is held to its node is not told that two pods of other nodes share an address', async () => {
    const server = world();
    server.put(podRecord({ nodeName: 'node-2' }), podRecord({ uid: 'uid-2', name: 'pod-2', nodeName: 'node-3' }));
    server.holdAgentTo({ kind: 'node', node: { by: 'name', name: 'node-1' } });
    const asking = server.credentials('192.0.2.1', 'reader');
    await server.clock.advance(850);
    assert.deepEqual(await asking, failed('pod-not-found', 'no pod found'));
    server.holdAgentTo({ kind: 'node', node: { by: 'name', name: 'node-2' } });
    assert.ok((await server.credentials('192.0.2.1', 'reader')).ok, 'of its own node there is one');
  });

  it('an agent that is held to its node gets nothing when it is refused', async () => {
    const server = world();
    server.put(podRecord());
    server.holdAgentTo({ kind: 'refused' });
    assert.deepEqual(await server.credentials('192.0.2.1', 'reader'), failed('forbidden', 'forbidden by policy'));
    assert.deepEqual(await server.role('192.0.2.1'), failed('forbidden', 'forbidden by policy'));
  });
});

describe('a namespace whose expression Kiam would have read otherwise', () => {
  it('a namespace whose expression Kiam would have read otherwise is warned about once, and only where that makes the difference', async () => {
    const server = world();
    server.put(podRecord({ role: 'reader-admin' }));
    const warned = () =>
      server.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields['pod.iam.roleArn']);
    server.namespaces.set('default', { name: 'default', permitted: `${BASE}writer` });
    await server.credentials('192.0.2.1', 'reader-admin');
    assert.deepEqual(warned(), []);
    server.namespaces.set('default', { name: 'default', permitted: `${BASE}reader|${BASE}writer` });
    for (let round = 0; round < 3; round += 1) await server.credentials('192.0.2.1', 'reader-admin');
    assert.deepEqual(warned(), [`${BASE}reader-admin`]);
  });

  it('a namespace whose expression is over a limit that Kiam does not have is warned about once, with the limit', async () => {
    const server = world();
    server.put(podRecord());
    const warned = () => server.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields['error']);
    server.namespaces.set('default', { name: 'default', permitted: '(' });
    await server.credentials('192.0.2.1', 'reader');
    assert.deepEqual(warned(), []);
    for (const permitted of [`.*|${'x'.repeat(4096)}`, '.*|x{1000}']) {
      server.namespaces.set('default', { name: 'default', permitted });
      for (let round = 0; round < 3; round += 1) await server.credentials('192.0.2.1', 'reader');
    }
    assert.deepEqual(warned(), ['it is longer than 4096 bytes', 'it compiles to more than 1000 instructions']);
  });
});
