import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { plainSessions } from '#domain/attribution.ts';
import type { CredentialInspection } from '#domain/credentials.ts';
import { type Identity, identityKey, identityOf } from '#domain/identity.ts';
import type { AskingWay, PodRecord } from '#domain/pod.ts';
import { resolveRole } from '#domain/role.ts';
import { explain } from '#server/explain/explain.ts';
import type { Explanation, Link, LinkVerdict } from '#server/explain/explanation.ts';
import type { ExplainFacts, RunningFacts } from '#server/explain/facts.ts';
import { explanationJson, explanationText } from '#server/explain/render.ts';

import { podRecord } from '../../../support/pods.ts';

const BASE = 'arn:aws:iam::123456789012:role/';
const EXTERNAL_ID = 'half-a-secret';

const FRESH: CredentialInspection = {
  held: { isServed: true, issuedAtMs: 0, expiresAtMs: 3_600_000, remainingMs: 3_000_000 },
  failure: undefined,
  isCalling: false,
  next: { inMs: 1_200_000, isAutomatic: true },
  isPaused: false,
  calls: 1,
};
const EMPTY: CredentialInspection = {
  held: undefined,
  failure: undefined,
  isCalling: false,
  next: undefined,
  isPaused: false,
  calls: 1,
};
const FAILURE = { category: 'denied', code: 'AccessDenied', detail: 'AccessDenied: no', agoMs: 30_000, count: 3 };

/** The facts of a pod with which all is well, but for what a test says. */
function factsOf({
  pod = podRecord({ externalId: EXTERNAL_ID }),
  running = {},
  ...facts
}: { pod?: PodRecord; running?: Partial<RunningFacts> } & Partial<
  Omit<ExplainFacts, 'pod' | 'running'>
> = {}): ExplainFacts {
  const identity: Identity = identityOf(pod, `${BASE}${pod.role}`, plainSessions('kiam'));
  return {
    namespace: pod.namespace,
    name: pod.name,
    source: 'as a test says',
    pod,
    addresses: pod.addresses.map((address) => ({ address, isOwn: true, others: [] })),
    resolution: resolveRole(pod.role, BASE),
    decision: { allowed: true, roleArn: identity.roleArn },
    permitted: '.*',
    identity,
    servesTokens: true,
    running: {
      viewAgeMs: 1000,
      viewProblem: undefined,
      confirmedAgoMs: 60_000,
      credentials: FRESH,
      streams: [
        {
          peer: '198.51.100.1:4000',
          openForMs: 61_000,
          isSynced: true,
          isBehind: false,
          isChanging: false,
          identityKey: identityKey(identity),
          hasCredentials: true,
        },
      ],
      proof: 'token',
      ...running,
    },
    ...facts,
  };
}

const linkOf = ({ links }: Explanation, name: string): Link => {
  const found = links.find(({ link }) => link === name);
  assert.ok(found !== undefined, name);
  return found;
};

describe('the explanation of a pod', () => {
  it('the explanation of a pod is a page that a person reads from the top', () => {
    assert.equal(
      explanationText(explain(factsOf())),
      `default/pod-1 gets credentials: ${BASE}reader

  ok  view         the server's view of pods and namespaces is 1.0s old at most
  ok  pod          Running on the node node-1
  ok  address      192.0.2.1
  ok  role         "reader" is ${BASE}reader
  ok  way          SDKs ask the instance metadata: no container has a variable of another way
  ok  policy       ".*" (iam.amazonaws.com/permitted of namespace default) matches the ARN
  ok  session      kiam-kiam, with the external id ****** (iam.amazonaws.com/external-id)
  ok  confirmed    the API server said 1m0s ago that the address is the pod's
  ok  credentials  STS issued them at 1970-01-01T00:00:00Z; 50m0s are left, until 1970-01-01T01:00:00Z; renewed in 20m0s
  ok  agent        has been told of the pod and these credentials, on its stream from 198.51.100.1:4000, open for 1m1s, whose node is proven by its token

as a test says
`,
    );
  });

  const states: readonly (readonly [string, CredentialInspection, Explanation['outcome'], RegExp])[] = [
    [
      'a renewal that failed changes nothing yet',
      { ...FRESH, failure: FAILURE, next: { inMs: 4000, isAutomatic: true } },
      'gets credentials',
      /50m0s are left, .*; STS failed 30s ago \(3 times in a row\): AccessDenied: no; renewed in 4\.0s$/,
    ],
    [
      'a refused role waits for a pod',
      { ...EMPTY, failure: FAILURE, next: { inMs: 4000, isAutomatic: false } },
      'gets nothing',
      /^STS failed 30s ago .*; next try when the pod asks, in 4\.0s at the earliest$/,
    ],
    [
      'a refused role may be asked for',
      { ...EMPTY, failure: { ...FAILURE, count: 1 }, next: { inMs: 0, isAutomatic: false } },
      'gets nothing',
      /^STS failed 30s ago: AccessDenied: no; next try when the pod asks$/,
    ],
    [
      'trouble of STS as a whole',
      {
        ...EMPTY,
        failure: { ...FAILURE, category: 'unavailable' },
        next: { inMs: 0, isAutomatic: true },
        isPaused: true,
      },
      'gets nothing',
      /; next try at the next opportunity; STS does not answer at all, so calls are held back$/,
    ],
    [
      'credentials that have ended',
      { ...FRESH, held: { isServed: false, issuedAtMs: 0, expiresAtMs: 3_600_000, remainingMs: -5 }, isCalling: true },
      'gets nothing',
      /^the last ones ended at 1970-01-01T01:00:00Z; STS is being called now$/,
    ],
    [
      'a first call',
      { ...EMPTY, isCalling: true },
      'cannot be told',
      /^STS has not answered yet; STS is being called now$/,
    ],
    ['nothing yet', EMPTY, 'cannot be told', /^STS has not answered yet$/],
  ];
  for (const [what, credentials, outcome, text] of states) {
    it(`the explanation of a pod knows the states of credentials: ${what}`, () => {
      const explanation = explain(factsOf({ running: { credentials } }));
      assert.equal(explanation.outcome, outcome);
      assert.match(linkOf(explanation, 'credentials').text, text);
    });
  }

  it('the explanation of a pod says who has its credentials where a replica without the stream of its node was not asked for them', () => {
    const cases: readonly (readonly [string, CredentialInspection, RegExp])[] = [
      [
        'nothing is held',
        EMPTY,
        /^this replica holds none: the replica that has the stream of the node's agent fetches/,
      ],
      ['what a pod asked for is held', FRESH, /^STS issued them at /],
      ['a call is in progress', { ...EMPTY, isCalling: true }, /^STS has not answered yet; STS is being called now$/],
    ];
    for (const [what, credentials, text] of cases) {
      const explanation = explain(factsOf({ running: { credentials, streams: [] } }));
      assert.match(linkOf(explanation, 'credentials').text, text, what);
      assert.equal(explanation.outcome, credentials === FRESH ? 'gets credentials' : 'cannot be told', what);
    }
  });

  it('the explanation of a pod says which of two streams counts, and what is still to be told', () => {
    const [stream] = factsOf().running?.streams ?? [];
    assert.ok(stream !== undefined);
    const cases: readonly (readonly [RunningFacts['streams'], RegExp])[] = [
      [[], /^no stream of an agent on the node node-1 to this replica: /],
      [
        [stream, { ...stream, openForMs: 5, identityKey: undefined }],
        /^has not been told of the pod, .*open for 0\.0s/,
      ],
      [[{ ...stream, identityKey: '', hasCredentials: false }], /^has been told of the pod, without credentials, /],
      [[{ ...stream, hasCredentials: false }], /^has been told of the pod, without credentials, /],
      [
        [{ ...stream, identityKey: 'other', isChanging: true }],
        /^has been told of the pod as it was, .*; more will be sent$/,
      ],
      [[{ ...stream, isSynced: false }], /; more will be sent$/],
      [[{ ...stream, isBehind: true }], /; it reads slowly and has not received the rest yet$/],
    ];
    for (const [streams, text] of cases) {
      const link = linkOf(explain(factsOf({ running: { streams } })), 'agent');
      assert.match(link.text, text);
      assert.equal(link.facts['streams'], streams.length);
    }
    const off = linkOf(explain(factsOf({ running: { streams: [], proof: undefined } })), 'agent');
    assert.match(off.text, /^with --agent-identity=off no agent is told anything in advance/);
  });

  it('the explanation of a pod says what is wrong with the watch of the server', () => {
    const running = { viewAgeMs: Number.POSITIVE_INFINITY, viewProblem: 'connect ECONNREFUSED' };
    const { text, facts } = linkOf(explain(factsOf({ running })), 'view');
    assert.equal(text, "the server's view of pods and namespaces is an unknown time old at most; connect ECONNREFUSED");
    assert.deepEqual(facts, { ageSeconds: null, problem: 'connect ECONNREFUSED' });
  });

  it('the explanation of a pod ends early for a pod that is none, has ended or shares its node’s address', () => {
    const chains: readonly (readonly [ExplainFacts, string, readonly string[]])[] = [
      [{ ...factsOf(), pod: undefined }, 'this server knows no such pod', ['view', 'pod']],
      [{ ...factsOf(), pod: undefined, running: undefined }, 'the API server knows no such pod', ['pod']],
      [
        factsOf({ pod: podRecord({ phase: 'Failed' }), addresses: [] }),
        'it has ended (Failed)',
        ['view', 'pod', 'role', 'way', 'policy', 'session'],
      ],
      [
        factsOf({ pod: podRecord({ hostNetwork: true }), addresses: [], servesTokens: false }),
        'it has hostNetwork: it shares the address of its node, and is served by its token alone, with --container-credentials',
        ['view', 'pod', 'role', 'way', 'policy', 'session'],
      ],
      [
        factsOf({ pod: podRecord({ mirror: true }), addresses: [] }),
        'it is a mirror pod (kubernetes.io/config.mirror): any kubelet can make one, so none is served',
        ['view', 'pod', 'role', 'way', 'policy', 'session'],
      ],
    ];
    for (const [facts, because, links] of chains) {
      const explanation = explain(facts);
      assert.deepEqual([explanation.outcome, explanation.because], ['gets nothing', because]);
      assert.deepEqual(
        explanation.links.map(({ link }) => link),
        links,
      );
    }
  });

  it('the explanation of a pod says from which ServiceAccount a role is, which annotation does not count, and what SDKs prefer', () => {
    const annotated = { role: 'own', sessionName: '', externalId: '', sessionTags: [], ignoredTag: '' };
    const given = { serviceAccount: 'app', roleSource: 'service-account', annotated } as const;
    const bound = explain(factsOf({ pod: podRecord({ ...given, role: 'reader', asksBy: 'web identity' }) }));
    const role = linkOf(bound, 'role');
    assert.equal(role.text, `"reader" from the ServiceAccount default/app is ${BASE}reader`);
    assert.deepEqual(role.facts, {
      annotated: 'reader',
      arn: `${BASE}reader`,
      serviceAccount: 'default/app',
      ignored: 'own',
    });
    assert.equal(linkOf(bound, 'way').verdict, 'note');
    assert.equal(bound.outcome, 'gets credentials');
    const none = explain(
      factsOf({ pod: podRecord({ ...given, role: '' }), resolution: undefined, identity: undefined }),
    );
    assert.match(linkOf(none, 'role').text, /the ServiceAccount default\/app gives it none.*"own", does not count/);
  });

  it('the explanation of a pod with the host network that asks by its token is that of its credentials', () => {
    const pod = podRecord({ hostNetwork: true, asksBy: 'container credentials' });
    const served = explain(factsOf({ pod, addresses: [] }));
    assert.equal(served.outcome, 'gets credentials');
    assert.deepEqual(
      served.links.map(({ link }) => link),
      ['view', 'pod', 'role', 'way', 'policy', 'session', 'credentials', 'agent'],
    );
    const elsewhere = explain({ ...factsOf({ pod, addresses: [] }), servesTokens: undefined, running: undefined });
    assert.equal(linkOf(elsewhere, 'pod').verdict, 'unknown');
    const lost = explain(factsOf({ pod: podRecord({ hostNetwork: true }), addresses: [] }));
    assert.deepEqual([lost.outcome, linkOf(lost, 'way').verdict], ['gets nothing', 'no']);
    assert.match(lost.because, /SDKs ask the instance metadata: .* serves no pod with hostNetwork$/);
  });

  it('the explanation of a pod says by which way it asks', () => {
    const ways: readonly (readonly [AskingWay, boolean | undefined, LinkVerdict])[] = [
      ['instance metadata', true, 'ok'],
      ['container credentials', true, 'ok'],
      ['container credentials', false, 'note'],
      ['container credentials', undefined, 'note'],
      ['web identity', true, 'note'],
      ['another endpoint', true, 'note'],
    ];
    for (const [asksBy, servesTokens, verdict] of ways) {
      const way = linkOf(explain(factsOf({ pod: podRecord({ asksBy }), servesTokens })), 'way');
      assert.deepEqual([way.verdict, way.facts], [verdict, { by: asksBy }]);
    }
  });

  it('the explanation of a pod knows a pod that is being deleted, and one that has no address yet', () => {
    const ending = explain(factsOf({ pod: podRecord({ terminating: true }) }));
    assert.equal(ending.outcome, 'gets credentials');
    assert.match(linkOf(ending, 'pod').text, /it is being deleted, and served until it is gone$/);
    const unborn = explain(factsOf({ pod: podRecord({ addresses: [], nodeName: '', hostIps: [], phase: 'Pending' }) }));
    assert.deepEqual([unborn.outcome, unborn.because], ['gets nothing', 'it has no address yet']);
    assert.equal(linkOf(unborn, 'pod').text, 'Pending on no node yet');
  });

  it('the explanation of a pod serves a pod by the one of its addresses that is its own, and by none that cannot be told', () => {
    const own = { address: '192.0.2.1', isOwn: true, others: [] };
    const lost = { address: '192.0.2.2', isOwn: false, others: ['other/pod'] };
    const open = { address: '192.0.2.3', isOwn: undefined, others: [] };
    const verdicts = [[own, lost], [lost], [open], [lost, open], [own, open]].map(
      (addresses) => linkOf(explain(factsOf({ addresses })), 'address').verdict,
    );
    assert.deepEqual(verdicts, ['ok', 'no', 'unknown', 'no', 'ok']);
  });

  it('the explanation of a pod writes what a terminal would take for a command as text, and cuts what nobody reads', () => {
    const role = `\u001b]0;owned\u0007\u009b31m\u202e${'x'.repeat(2000)}`;
    const pod = podRecord({ role });
    const explanation = explain(factsOf({ pod, decision: { allowed: false, explanation: role }, identity: undefined }));
    const [text, json] = [explanationText(explanation), explanationJson(explanation)];
    for (const form of [text, json]) assert.match(form, /^[\n\x20-\x7e]*$/);
    for (const line of text.split('\n')) assert.ok(line.length < 1600, `${line.length}`);
    const read: unknown = JSON.parse(json);
    assert.deepEqual(read, JSON.parse(JSON.stringify(explanation)), 'the JSON has lost something');
  });
});
