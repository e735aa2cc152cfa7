import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { attributionOf, isOfOnePod, NO_ATTRIBUTION, plainSessions, type SessionRules } from '#domain/attribution.ts';
import { sessionNameProblem, sessionTagsProblem } from '#domain/iam-grammar.ts';
import { identityKey, identityOf, sessionNameOf } from '#domain/identity.ts';
import { expandName, type NameTemplate, parseNameTemplate } from '#domain/name-template.ts';
import { decide } from '#domain/policy.ts';
import { compileExpression } from '#domain/expression.ts';

import { podRecord } from '../../support/pods.ts';

const ROLE = 'arn:aws:iam::123456789012:role/reader';
const pod = podRecord({ namespace: 'team', name: 'app-7d9', uid: 'u-1', serviceAccount: 'app' });

function template(text: string): NameTemplate {
  const parsed = parseNameTemplate(text);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

const tagged = (tags: SessionRules['tags'], fields: Partial<SessionRules> = {}): SessionRules => ({
  ...plainSessions('kiam'),
  tags,
  clusterName: 'prod',
  clusterArn: 'arn:aws:eks:eu-west-1:123456789012:cluster/prod',
  ...fields,
});

describe('the tags of a session', () => {
  it('are none by default, and the identity is then the text that agents have always known', () => {
    assert.equal(attributionOf(pod, plainSessions('kiam')), NO_ATTRIBUTION);
    const identity = identityOf(podRecord({ externalId: 'x' }), ROLE, plainSessions('kiam'));
    assert.equal(identityKey(identity), JSON.stringify([ROLE, 'kiam', 'x']));
  });

  it('have the keys of EKS Pod Identity; those of a workload are shared by its pods, those of a pod by nobody', () => {
    const workload = attributionOf(pod, tagged('workload'));
    const [arn, name, namespace, account, ...rest] = attributionOf(pod, tagged('pod')).tags;
    assert.deepEqual(workload.tags, [arn, name, namespace, account]);
    assert.deepEqual(
      [arn, name, namespace, account],
      [
        ['eks-cluster-arn', 'arn:aws:eks:eu-west-1:123456789012:cluster/prod'],
        ['eks-cluster-name', 'prod'],
        ['kubernetes-namespace', 'team'],
        ['kubernetes-service-account', 'app'],
      ],
    );
    assert.deepEqual(rest, [
      ['kubernetes-pod-name', 'app-7d9'],
      ['kubernetes-pod-uid', 'u-1'],
    ]);
    const other = podRecord({ ...pod, name: 'app-8e0', uid: 'u-2' });
    const keys = (rules: SessionRules): string[] =>
      [pod, other].map((one) => identityKey(identityOf(one, ROLE, rules)));
    assert.equal(new Set(keys(tagged('workload'))).size, 1);
    assert.equal(new Set(keys(tagged('pod'))).size, 2);
    assert.deepEqual([isOfOnePod(workload), isOfOnePod(attributionOf(pod, tagged('pod')))], [false, true]);
  });

  it('have no cluster where none is given', () => {
    const { tags } = attributionOf(pod, tagged('workload', { clusterName: '', clusterArn: '' }));
    assert.deepEqual(
      tags.map(([key]) => key),
      ['kubernetes-namespace', 'kubernetes-service-account'],
    );
  });

  it('are never set by an annotation where they say whose the session is, whatever its case', () => {
    const sessionTags = [
      ['Kubernetes-Namespace', 'victim'],
      ['kubernetes-pod-uid', 'victim'],
      ['team', 'payments'],
    ] as const;
    for (const mode of ['workload', 'pod'] as const) {
      const { tags } = attributionOf(podRecord({ ...pod, sessionTags }), tagged(mode));
      assert.deepEqual(tags.at(-1), ['team', 'payments']);
      assert.doesNotMatch(JSON.stringify(tags), /victim/);
      assert.equal(sessionTagsProblem(tags), undefined);
    }
  });

  it('are checked as AWS checks them before anything is called', () => {
    const cases: readonly [readonly (readonly [string, string])[], RegExp | undefined][] = [
      [[['team', 'a b/é=+-@:_.9']], undefined],
      [[['team', '']], undefined],
      [[['team', 'x'.repeat(256)]], undefined],
      [[['team', 'x'.repeat(257)]], /at most 256/],
      [[['team', '😀']], /is not valid/],
      [[['team', 'a\nb']], /is not valid/],
      [[['team', '\ud83d']], /is not valid/],
      [[['x'.repeat(128), 'a']], undefined],
      [[['x'.repeat(129), 'a']], /1 to 128/],
      [[['', 'a']], /1 to 128/],
      [[['AWS:team', 'a']], /reserved/],
      [
        [
          ['team', 'a'],
          ['Team', 'b'],
        ],
        /once/,
      ],
      [Array.from({ length: 50 }, (_, index) => [`k${index}`, 'v'] as const), undefined],
      [Array.from({ length: 51 }, (_, index) => [`k${index}`, 'v'] as const), /at most 50/],
    ];
    for (const [tags, expected] of cases) {
      const problem = sessionTagsProblem(tags);
      if (expected === undefined) assert.equal(problem, undefined, JSON.stringify(tags));
      else assert.match(problem ?? '', expected, JSON.stringify(tags).slice(0, 80));
    }
  });

  it('refuse a pod whose own tag AWS would not take, and one whose ServiceAccount is not known', () => {
    const namespace = { name: 'team', permitted: '.*' };
    const question = { requestedRole: 'reader', namespace, expression: compileExpression('.*', true) };
    const judge = (sessionTags: (typeof pod)['sessionTags']) =>
      decide({ ...question, pod: podRecord({ ...pod, sessionTags }), baseArn: 'arn:aws:iam::123456789012:role/' });
    assert.equal(judge([['team', 'payments']]).allowed, true);
    const invalid = judge([['team', 'a;b']]);
    assert.ok(!invalid.allowed);
    assert.match(invalid.explanation, /^the session tag 'team' is not valid/);
    const unknown = judge(undefined);
    assert.ok(!unknown.allowed);
    assert.match(unknown.explanation, /ServiceAccount, which may set session tags, is not known/);
  });
});

const values = {
  cluster: 'prod',
  namespace: 'team',
  serviceAccount: 'app',
  pod: 'app-7d9',
  uid: '0b1a2c3d-0000-4000-8000-000000000000',
  sessionName: 'kiam',
};
const SUFFIX = '[0-9a-f]{12}';

describe('a name made by a template', () => {
  for (const [text, changed, expected] of [
    ['{namespace}.{serviceAccount}', {}, /^team\.app$/],
    ['{cluster}@{namespace}.{pod}', {}, /^prod@team\.app-7d9$/],
    ['{sessionName}', { sessionName: 'mine' }, /^mine$/],
    ['fixed-name', {}, /^fixed-name$/],
    // A ServiceAccount with the separator in its name could stand for another pair.
    ['{namespace}.{serviceAccount}', { serviceAccount: 'app.web' }, /^team\.app\.web$/],
    ['{serviceAccount}.{pod}', { serviceAccount: 'app.web' }, new RegExp(`^app\\.web\\.app-7d9_${SUFFIX}$`)],
    ['{namespace}-{serviceAccount}', { namespace: 'team-a' }, new RegExp(`^team-a-app_${SUFFIX}$`)],
    ['{namespace}{pod}', {}, new RegExp(`^teamapp-7d9_${SUFFIX}$`)],
    ['{namespace}_{pod}', { pod: 'p'.repeat(70) }, new RegExp(`^team_p{46}\\+${SUFFIX}$`)],
    ['{namespace}', { namespace: 'a' }, new RegExp(`^a_${SUFFIX}$`)],
    ['{sessionName}', { sessionName: 'a b😀' }, new RegExp(`^a-b-_${SUFFIX}$`)],
    ['{sessionName}', { sessionName: 'a_b' }, new RegExp(`^a_b_${SUFFIX}$`)],
  ] as const) {
    it(`${text} of ${JSON.stringify(changed).slice(0, 60)} is readable, and its own`, () => {
      const name = expandName(template(text), { ...values, ...changed });
      assert.match(name, expected);
      assert.equal(sessionNameProblem(name), undefined);
    });
  }

  it('is one that STS takes, and no other values have it', () => {
    const dns = fc.string({ unit: fc.constantFrom('a', 'b', '-', '.', '0'), minLength: 1, maxLength: 70 });
    const any = fc.oneof(dns, fc.string({ unit: 'binary', maxLength: 20 }), fc.stringMatching(/^[\w+=,.@-]{0,70}$/));
    const record = fc.record({
      cluster: dns,
      namespace: dns,
      serviceAccount: dns,
      pod: dns,
      uid: dns,
      sessionName: any,
    });
    const texts = [
      '{namespace}.{serviceAccount}',
      '{namespace}-{pod}',
      '{sessionName}',
      '{namespace}_{uid}',
      '{pod}{uid}',
    ];
    const names = new Map<string, string>();
    fc.assert(
      fc.property(record, fc.constantFrom(...texts), (given, text) => {
        const parsed = template(text);
        const name = expandName(parsed, given);
        assert.equal(sessionNameProblem(name), undefined);
        const used = JSON.stringify(parsed.placeholders.map((placeholder) => given[placeholder]));
        const known = names.get(`${text} ${name}`);
        assert.ok(known === undefined || known === used, `${name} for ${known} and ${used}`);
        names.set(`${text} ${name}`, used);
      }),
      { numRuns: 3000 },
    );
  });

  it('is refused where it could not be made', () => {
    for (const [text, reason] of [
      ['{node}', /\{node\} in it, which is none of \{cluster\}/],
      ['{namespace', /something other than placeholders/],
      ['a b', /something other than placeholders/],
      ['x', /something other than placeholders/],
      ['', /something other than placeholders/],
      [`${'x'.repeat(33)}{pod}`, /at most 32/],
      ['{pod}_+=,@', /leaves none of/],
    ] as const) {
      const parsed = parseNameTemplate(text);
      assert.ok(!parsed.ok, text);
      assert.match(parsed.reason, reason);
    }
  });

  it('takes the place of the annotated name, of which nothing is left in the identity', () => {
    const rules = { ...plainSessions('kiam'), nameTemplate: template('{namespace}.{serviceAccount}') };
    const [one, other] = ['mine', 'victim'].map((sessionName) =>
      identityOf(podRecord({ ...pod, sessionName }), ROLE, rules),
    );
    assert.ok(one !== undefined && other !== undefined);
    assert.equal(sessionNameOf(one), 'team.app');
    assert.equal(identityKey(one), identityKey(other));
    assert.notEqual(identityKey(one), identityKey(identityOf(pod, ROLE, plainSessions('team.app'))));
  });
});

describe('identityKey', () => {
  it('differs wherever names, source identities or tags differ, whatever they hold', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '"', ',', '\\', '[', ' '), maxLength: 4 });
    const attribution = fc.record({
      sessionName: text,
      sourceIdentity: text,
      tags: fc.array(fc.tuple(text, text), { maxLength: 3 }),
      areTagsTransitive: fc.boolean(),
    });
    const identity = fc.record({ roleArn: text, sessionName: text, externalId: text, attribution });
    fc.assert(
      fc.property(identity, identity, (one, other) => {
        const isSame = JSON.stringify(one) === JSON.stringify(other);
        assert.equal(identityKey(one) === identityKey(other), isSame);
      }),
    );
  });
});
