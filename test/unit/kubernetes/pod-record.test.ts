import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { AskingWay } from '#domain/pod.ts';
import { externalIdProblem } from '#domain/iam-grammar.ts';
import { resolveRole } from '#domain/role.ts';
import { stsSessionName } from '#domain/session-name.ts';
import { parseNamespaceObject } from '#kubernetes/namespace-record.ts';
import { createPodParser, podsDiffer } from '#kubernetes/pod-record.ts';
import { podObject } from './objects.ts';

const parse = createPodParser();

test('A pod is read down to the fields that are used.', () => {
  const annotations = {
    'iam.amazonaws.com/role': '/team/app',
    'iam.amazonaws.com/session-name': 'me',
    'iam.amazonaws.com/external-id': 'id',
    other: 'x',
  };
  assert.deepEqual(
    parse(podObject({ ips: ['192.0.2.1', '2001:DB8:0::1'], annotations, version: 12, serviceAccount: 'app' })),
    {
      uid: 'uid-of-pod-1',
      namespace: 'default',
      name: 'pod-1',
      addresses: ['192.0.2.1', '2001:db8::1'],
      nodeName: 'node-1',
      hostIps: ['198.51.100.1'],
      phase: 'Running',
      hostNetwork: false,
      mirror: false,
      terminating: false,
      resourceVersion: '12',
      serviceAccount: 'app',
      serviceAccountUid: '',
      role: '/team/app',
      roleSource: 'pod',
      sessionName: 'me',
      externalId: 'id',
      sessionTags: [],
      annotated: { role: '/team/app', sessionName: 'me', externalId: 'id', sessionTags: [], ignoredTag: '' },
      asksBy: 'instance metadata',
    },
  );
});

const base = { metadata: { uid: 'u', name: 'n', namespace: 's' } };

for (const [what, status, addresses] of [
  ['podIP alone', { podIP: '192.0.2.1' }, ['192.0.2.1']],
  [
    'podIP beside podIPs that lack it',
    { podIP: '192.0.2.1', podIPs: [{ ip: '192.0.2.2' }] },
    ['192.0.2.2', '192.0.2.1'],
  ],
  ['an IPv4-mapped address', { podIP: '::ffff:192.0.2.1' }, ['192.0.2.1']],
  ['texts that are no address', { podIP: 'localhost', podIPs: [{ ip: '1.2.3' }, { ip: 7 }, null, 'x', {}] }, []],
  ['podIPs that are no list', { podIPs: { 0: { ip: '192.0.2.1' } } }, []],
  ['no status', undefined, []],
] as const) {
  test(`Addresses: ${what}.`, () => {
    assert.deepEqual(parse({ ...base, status })?.addresses, addresses);
  });
}

for (const [what, status, hostIps] of [
  ['hostIP alone, from an older kubelet', { hostIP: '192.0.2.1' }, ['192.0.2.1']],
  [
    'both families',
    { hostIP: '192.0.2.1', hostIPs: [{ ip: '192.0.2.1' }, { ip: '2001:DB8:0::1' }] },
    ['192.0.2.1', '2001:db8::1'],
  ],
  ['texts that are no address', { hostIP: 'node', hostIPs: [{ ip: 'x' }, null] }, []],
] as const) {
  test(`Addresses of the node: ${what}.`, () => {
    assert.deepEqual(parse({ ...base, status })?.hostIps, hostIps);
  });
}

test('Pods of one node share the text of its name and the list of its addresses.', () => {
  const [one, two] = ['one', 'two'].map((name) => parse(podObject({ name, hostIps: ['198.51.100.1', '2001:db8::a'] })));
  assert.ok(one !== undefined && one.hostIps === two?.hostIps);
});

for (const mark of ['', 'hash', null, 5, false]) {
  test(`A pod is a mirror pod when it is annotated as one, with ${JSON.stringify(mark)} as well.`, () => {
    const annotations = { 'kubernetes.io/config.mirror': mark, 'iam.amazonaws.com/role': 'admin' };
    assert.equal(parse(podObject({ annotations }))?.mirror, true);
    assert.equal(parse(podObject())?.mirror, false);
  });
}

test('What makes no sense is read in the way that gives the pod less.', () => {
  const pod = parse({ metadata: { ...base.metadata, deletionTimestamp: 0 }, spec: { hostNetwork: 'yes' } });
  assert.equal(pod?.terminating, true);
  assert.equal(pod?.hostNetwork, true);
  for (const role of [5, null, ['reader'], { reader: 1 }]) {
    assert.equal(parse(podObject({ annotations: { 'iam.amazonaws.com/role': role } }))?.role, '');
  }
});

test('Only own fields count, whatever their names are.', () => {
  const text = `{"metadata":{"uid":"u","name":"__proto__","namespace":"constructor","annotations":
    {"__proto__":{"iam.amazonaws.com/role":"admin"},"constructor":"x"}},"__proto__":{"spec":{"hostNetwork":true}}}`;
  const pod = parse(JSON.parse(text));
  assert.equal(pod?.role, '');
  assert.equal(pod?.name, '__proto__');
  assert.equal(pod?.hostNetwork, false);
});

for (const role of ['r'.repeat(2049), `arn:aws:iam::1:role/${'r'.repeat(2040)}`, 'é'.repeat(200_000)]) {
  test(`A role of ${role.length} characters is kept bounded and stays refused for its length.`, () => {
    const kept = parse(podObject({ role }))?.role ?? '';
    assert.ok(kept.length < 3000);
    const resolved = resolveRole(kept, 'arn:aws:iam::1:role/');
    assert.match(resolved.ok ? 'allowed' : resolved.reason, /longer than 2048/);
  });
}

test('A role of the longest length that is allowed is kept whole.', () => {
  const role = `arn:aws:iam::1:role/${'r'.repeat(2028)}`;
  assert.equal(parse(podObject({ role }))?.role, role);
});

test('A role that is longer than AWS accepts is kept in no part: what its beginning says must not come into use.', () => {
  const role = `arn:aws:iam::123456789012:role/admin${'x'.repeat(2048)}`;
  assert.doesNotMatch(parse(podObject({ role }))?.role ?? '', /arn|admin/);
});

test('A bounded session name gives STS the same name as the whole one would.', () => {
  const check = (name: string): void => {
    const annotations = { 'iam.amazonaws.com/session-name': name };
    const kept = parse(podObject({ annotations }))?.sessionName ?? '';
    assert.equal(stsSessionName(kept), stsSessionName(name));
    assert.ok(kept.length <= 128 && kept.isWellFormed());
  };
  check('x'.repeat(300));
  for (let before = 0; before < 4; before += 1) check(`${'x'.repeat(before)}${'🔑'.repeat(300)}`);
  fc.assert(fc.property(fc.string({ unit: 'binary', minLength: 100, maxLength: 300 }), check), { numRuns: 200 });
});

for (const [what, externalId] of [
  ['too long', 'x'.repeat(1300)],
  ['too long by half a character', `${'x'.repeat(1224)}😀`],
  ['half a character', `id${'😀'.slice(0, 1)}`],
  ['one character', 'x'],
] as const) {
  test(`An external id that is ${what} is kept in a form that is refused, with no half of a character in it.`, () => {
    const annotations = { 'iam.amazonaws.com/external-id': externalId };
    const kept = parse(podObject({ annotations }))?.externalId ?? '';
    assert.ok(kept.length < 1300 && kept.isWellFormed());
    assert.notEqual(externalIdProblem(kept), undefined);
  });
}

test('An external id of the longest length that is allowed is kept whole.', () => {
  const annotations = { 'iam.amazonaws.com/external-id': 'x'.repeat(1224) };
  const kept = parse(podObject({ annotations }))?.externalId ?? '';
  assert.equal(kept, 'x'.repeat(1224));
  assert.equal(externalIdProblem(kept), undefined);
});

test('A bounded expression stays one that is refused unread.', () => {
  const metadata = { uid: 'u', name: 'n', annotations: { 'iam.amazonaws.com/permitted': 'x|'.repeat(100_000) } };
  const kept = parseNamespaceObject({ metadata })?.permitted ?? '';
  assert.equal(kept.length, 4097);
});

test('Two states of a pod differ by what is used, not by their versions.', () => {
  const read = (fields: Parameters<typeof podObject>[0]) => {
    const pod = parse(podObject({ ip: '192.0.2.1', ...fields }));
    assert.ok(pod);
    return pod;
  };
  assert.equal(podsDiffer(read({ version: 1 }), read({ version: 2 })), false);
  for (const fields of [
    { role: 'x' },
    { ip: '192.0.2.9' },
    { phase: 'Failed' },
    { terminating: true },
    { hostNetwork: true },
    { nodeName: 'node-9' },
    { hostIps: ['198.51.100.1', '2001:db8::a'] },
    { annotations: { 'iam.amazonaws.com/role': 'reader', 'kubernetes.io/config.mirror': 'x' } },
  ]) {
    assert.equal(podsDiffer(read({}), read(fields)), true);
  }
});

test('Whatever JSON comes, reading it returns a record or nothing.', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (metadata, spec, status) => {
      for (const value of [metadata, { metadata, spec, status }, { ...base, spec, status }]) {
        const pod = parse(value);
        assert.ok(pod === undefined || typeof pod.role === 'string');
        parseNamespaceObject(value);
      }
    }),
    { numRuns: 500 },
  );
});

test('By which way a pod asks is what SDKs find first in the environments of its containers.', () => {
  const of = (env: unknown): AskingWay | undefined =>
    createPodParser()({ ...base, spec: { containers: [{ name: 'a' }, { name: 'b', env }] } })?.asksBy;
  const webIdentity = { name: 'AWS_WEB_IDENTITY_TOKEN_FILE', value: '/token' };
  const uri = (value: string) => ({ name: 'AWS_CONTAINER_CREDENTIALS_FULL_URI', value });
  assert.equal(of([{ name: 'OTHER' }, webIdentity]), 'web identity');
  for (const host of ['169.254.170.23', '169.254.170.23:80', '[fd00:ec2::23]']) {
    assert.equal(of([uri(`http://${host}/v1/credentials`)]), 'container credentials');
    assert.equal(of([uri(`http://${host}/v1/credentials`), webIdentity]), 'web identity');
  }
  assert.equal(of([uri('http://localhost:8080/v1/credentials')]), 'another endpoint');
  assert.equal(of([{ name: 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', value: '/x' }]), 'another endpoint');
  for (const env of [undefined, null, 'AWS_WEB_IDENTITY_TOKEN_FILE', [{ name: 'OTHER' }], [null]])
    assert.equal(of(env), 'instance metadata');
});
