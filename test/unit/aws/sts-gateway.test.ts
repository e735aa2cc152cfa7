import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { type Attribution, NO_ATTRIBUTION } from '#domain/attribution.ts';
import type { Identity } from '#domain/identity.ts';
import type { OwnCredentialsOptions } from '#aws/own-credentials.ts';
import { StsCredentialCache } from '#aws/credential-cache.ts';
import { createCredentialCacheMetrics } from '#aws/metrics.ts';
import { createStsGateway } from '#aws/sts-gateway.ts';
import { systemClock } from '#runtime/clock.ts';
import type { Sts as SandboxSts } from '#sandbox/sts/sts.ts';
import { startSts } from '#sandbox/sts/sts.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { Registry } from 'prom-client';

const ROLE = 'arn:aws:iam::123456789012:role/reader';
const OWN_ROLE = 'arn:aws:iam::123456789012:role/kiam-server';
const USER = 'arn:aws:iam::123456789012:user/kiam';
const PATIENT = new AbortController().signal;
const identity = { roleArn: ROLE, sessionName: 'kiam', externalId: '', attribution: NO_ATTRIBUTION };

let sts: SandboxSts;
const environment = { ...process.env };

before(async () => {
  sts = await startSts({ clock: systemClock });
});

after(async () => {
  process.env = environment;
  await sts.close();
});

beforeEach(() => {
  // The SDK's chain reads the environment: nothing of the machine's own may get in.
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  process.env['AWS_EC2_METADATA_DISABLED'] = 'true';
  process.env['AWS_SHARED_CREDENTIALS_FILE'] = '/nonexistent';
  process.env['AWS_CONFIG_FILE'] = '/nonexistent';
  useKeysOf(sts.user(USER).credentials);
  sts.calls.clear();
  sts.everywhere({});
  sts.role(ROLE, undefined);
  sts.role(OWN_ROLE, undefined);
  sts.overrideLifetimeMs(undefined);
});

function useKeysOf({ accessKeyId, secretAccessKey }: { accessKeyId: string; secretAccessKey: string }): void {
  process.env['AWS_ACCESS_KEY_ID'] = accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = secretAccessKey;
}

function gatewayWith(options: Partial<OwnCredentialsOptions> = {}) {
  const { logger, lines } = recordingLogger();
  const gateway = createStsGateway({
    region: '',
    sessionDurationSeconds: 3600,
    assumeRoleArn: '',
    endpoint: sts.url,
    clock: systemClock,
    logger,
    ...options,
  });
  return { gateway, lines, [Symbol.dispose]: () => gateway.close() };
}

test('a role is assumed with the length, the session name and the external id that belong to it', async () => {
  using world = gatewayWith();
  const startedMs = Date.now();
  const outcome = await world.gateway.assumeRole(
    { roleArn: ROLE, sessionName: 'my session/1', externalId: 'id:1', attribution: NO_ATTRIBUTION },
    PATIENT,
  );
  assert.ok(outcome.ok);
  assert.equal(sts.identify(outcome.value.accessKeyId)?.roleArn, ROLE);
  assert.ok(Math.abs(outcome.value.expiresAtMs - startedMs - 3_600_000) < 60_000);
  assert.equal(outcome.grantedMs, 3_600_000);
  assert.ok(Math.abs(outcome.clockOffsetMs) < 60_000);
  const [call] = sts.calls.list();
  assert.deepEqual([call?.callerArn, call?.sessionName, call?.externalId], [USER, 'kiam-my-session-1', 'id:1']);
  assert.equal(call?.durationSeconds, 3600);
});

test('no external id is sent where a pod has none', async () => {
  using world = gatewayWith();
  assert.equal((await world.gateway.assumeRole(identity, PATIENT)).ok, true);
  assert.equal(sts.calls.list()[0]?.externalId, '');
});

test('AWS_ENDPOINT_URL_STS is honoured by the SDK itself, also in a region', async () => {
  process.env['AWS_ENDPOINT_URL_STS'] = sts.url;
  for (const region of ['', 'eu-west-1', 'cn-north-1']) {
    const { logger } = recordingLogger();
    const gateway = createStsGateway({
      region,
      sessionDurationSeconds: 900,
      assumeRoleArn: '',
      clock: systemClock,
      logger,
    });
    assert.equal((await gateway.assumeRole(identity, PATIENT)).ok, true, region);
    gateway.close();
  }
  assert.equal(sts.calls.count(), 3);
});

for (const [behaviour, category, code] of [
  [{ deny: true }, 'denied', 'AccessDenied'],
  [{ throttle: true }, 'throttled', 'Throttling'],
  [{ fail: true }, 'unavailable', 'InternalFailure'],
] as const) {
  test(`${code} is ${category}, after a single call`, async () => {
    using world = gatewayWith();
    sts.role(ROLE, behaviour);
    const outcome = await world.gateway.assumeRole(identity, PATIENT);
    assert.ok(!outcome.ok);
    assert.deepEqual([outcome.category, outcome.code], [category, code]);
    assert.ok(outcome.detail.startsWith(`${code}: `));
    assert.doesNotMatch(outcome.failure.message, /user\/kiam/);
    assert.equal(sts.calls.count(), 1);
  });
}

test('what STS would refuse is not sent, and an external id is in no word of the refusal', async () => {
  using world = gatewayWith();
  for (const invalid of [
    { externalId: 'half a secret' },
    { externalId: `half a secret${'😀'.slice(0, 1)}` },
    { roleArn: 'arn:aws:iam::123456789012:user/half' },
    { roleArn: `${ROLE}${'😀'.slice(0, 1)}` },
  ]) {
    const outcome = await world.gateway.assumeRole({ ...identity, ...invalid }, PATIENT);
    assert.ok(!outcome.ok);
    assert.deepEqual([outcome.category, outcome.code], ['bad-request', '']);
    if ('externalId' in invalid) assert.doesNotMatch(JSON.stringify([outcome, world.lines]), /half/);
  }
  assert.equal(sts.calls.count(), 0);
});

for (const [what, change] of [
  ['another role', (arn: string) => arn.replace('reader', 'writer')],
  ['a role of another account', (arn: string) => arn.replace('123456789012', '210987654321')],
  ['another session', (arn: string) => `${arn}x`],
  ['a longer role name', (arn: string) => arn.replace('reader', 'reader-admin')],
  ['another partition', (arn: string) => arn.replace('arn:aws:', 'arn:aws-cn:')],
  ['nobody', () => ''],
] as const) {
  test(`credentials of ${what} are dropped, counted and logged as an error`, async (t) => {
    sts.answerAs(change);
    t.after(() => sts.answerAs(undefined));
    using world = gatewayWith();
    const { logger, lines } = recordingLogger();
    const registry = new Registry();
    const cache = new StsCredentialCache({
      sts: world.gateway,
      clock: systemClock,
      logger,
      sessionRefreshMs: 0,
      defaultSessionName: 'kiam',
      metrics: createCredentialCacheMetrics(registry),
    });
    t.after(() => cache.close());
    const outcome = await cache.get(identity, 'request', PATIENT);
    assert.ok(!outcome.ok);
    assert.deepEqual(outcome.failure, { kind: 'internal', message: 'AWS STS answered for another role' });
    assert.equal(cache.peek(identity), undefined);
    assert.match(await registry.metrics(), /kiam_sts_calls_total{outcome="failure",reason="wrong-identity"} 1/);
    assert.equal(
      lines.filter(({ level, fields }) => level === 'error' && fields['reason'] === 'wrong-identity').length,
      1,
    );
  });
}

test('the case of a role and its path do not matter in the ARN of its session: no two roles differ by them alone', async () => {
  using world = gatewayWith();
  for (const roleArn of [ROLE, 'arn:aws:iam::123456789012:role/team/deep/Reader']) {
    sts.answerAs((arn) => arn.replace('Reader', 'reader'));
    assert.equal((await world.gateway.assumeRole({ ...identity, roleArn }, PATIENT)).ok, true);
  }
  sts.answerAs(undefined);
});

test('a call that hangs ends when its signal aborts', async () => {
  using world = gatewayWith();
  sts.role(ROLE, { hang: true });
  const controller = new AbortController();
  const waiting = world.gateway.assumeRole(identity, controller.signal);
  while (sts.calls.count() === 0) await new Promise((resolve) => setImmediate(resolve));
  controller.abort();
  const outcome = await waiting;
  assert.ok(!outcome.ok);
  assert.equal(outcome.category, 'unavailable');
});

test('a session that is too long for its role is shortened once, said once and remembered', async () => {
  using world = gatewayWith({ sessionDurationSeconds: 43_200 });
  sts.role(ROLE, { maxSessionDurationSeconds: 3600 });
  for (let turn = 0; turn < 3; turn += 1) {
    const outcome = await world.gateway.assumeRole(identity, PATIENT);
    assert.ok(outcome.ok);
    assert.equal(outcome.grantedMs, 3_600_000);
  }
  assert.deepEqual(
    sts.calls.list().map(({ durationSeconds }) => durationSeconds),
    [43_200, 3600, 3600, 3600],
  );
  assert.equal(world.lines.filter(({ level }) => level === 'warn').length, 1);
});

test('the role of the server is assumed first, under a number, and its session assumes the others', async () => {
  using world = gatewayWith({ assumeRoleArn: OWN_ROLE, sessionDurationSeconds: 3600 });
  const outcomes = await Promise.all([
    world.gateway.assumeRole(identity, PATIENT),
    world.gateway.assumeRole({ ...identity, sessionName: 'other' }, PATIENT),
  ]);
  assert.ok(outcomes.every(({ ok }) => ok));
  const [own, ...others] = sts.calls.list();
  assert.equal(own?.roleArn, OWN_ROLE);
  assert.match(own?.sessionName ?? '', /^\d{16,}$/);
  assert.equal(others.length, 2);
  assert.ok(others.every(({ callerArn }) => callerArn.includes(':assumed-role/kiam-server/')));
});

test('with a role of its own that it cannot assume the server says which step failed, and tells no pod its name', async () => {
  using world = gatewayWith({ assumeRoleArn: OWN_ROLE });
  sts.role(OWN_ROLE, { deny: true });
  const outcome = await world.gateway.assumeRole(identity, PATIENT);
  assert.ok(!outcome.ok);
  assert.equal(outcome.category, 'own-credentials');
  assert.match(outcome.detail, /^cannot assume the server's own role: AccessDenied: /);
  assert.doesNotMatch(outcome.failure.message, /kiam-server/);
  const errors = world.lines.filter(({ level }) => level === 'error');
  assert.equal(errors.length, 1);
  assert.equal(errors[0]?.fields['step'], "server's own role");
});

test('without credentials in the chain the failure is the own one, and no call is made', async () => {
  delete process.env['AWS_ACCESS_KEY_ID'];
  using world = gatewayWith();
  const outcome = await world.gateway.assumeRole(identity, PATIENT);
  assert.ok(!outcome.ok);
  assert.equal(outcome.category, 'own-credentials');
  assert.match(outcome.detail, /^cannot load the server's own AWS credentials: /);
  assert.equal(sts.calls.count(), 0);
  assert.equal(world.lines.filter(({ level }) => level === 'error').length, 1);
});

test('keys that AWS does not know are the own failure as well', async () => {
  useKeysOf({ accessKeyId: 'AKIAUNKNOWN', secretAccessKey: 'x' });
  using world = gatewayWith();
  const outcome = await world.gateway.assumeRole(identity, PATIENT);
  assert.ok(!outcome.ok);
  assert.equal(outcome.category, 'own-credentials');
});

test('an own session that STS no longer takes is replaced, and the seconds left of it are told', async (t) => {
  // This STS lives ahead of the gateway, so that it takes the session for expired before the gateway does.
  // Both go on from the present, by which the SDK judges what it holds.
  const stsClock = new ManualClock(Date.now());
  const ahead = await startSts({ clock: stsClock, checkRequestTime: false });
  t.after(() => ahead.close());
  useKeysOf(ahead.user(USER).credentials);
  const told: number[] = [];
  const remaining = { set: (seconds: number) => void told.push(seconds) };
  const clock = new ManualClock(Date.now());
  using world = gatewayWith({ assumeRoleArn: OWN_ROLE, endpoint: ahead.url, remaining, clock });
  assert.equal((await world.gateway.assumeRole(identity, PATIENT)).ok, true);
  await clock.advance(30_000);
  assert.ok(Math.abs((told.at(-1) ?? 0) - 3570) <= 2, String(told));
  stsClock.jumpWall(2 * 3_600_000);
  const refused = await world.gateway.assumeRole(identity, PATIENT);
  assert.ok(!refused.ok);
  assert.equal(refused.code, 'ExpiredToken');
  let isReplaced = false;
  for (let turn = 0; turn < 50 && !isReplaced; turn += 1) {
    isReplaced = (await world.gateway.assumeRole(identity, PATIENT)).ok;
  }
  assert.ok(isReplaced);
});

const ATTRIBUTION: Attribution = {
  sessionName: 'team.app',
  sourceIdentity: 'team.app.app-7d9',
  tags: [
    ['kubernetes-namespace', 'team'],
    // Characters that have to be encoded on their way.
    ['team', 'a b=ä+'],
  ],
  areTagsTransitive: false,
};
const TAGGED: Identity = { ...identity, attribution: ATTRIBUTION };

test('session tags, source identity and the name of a template are what STS is given, and how much they take is told', async () => {
  using world = gatewayWith();
  for (const areTagsTransitive of [false, true]) {
    const outcome = await world.gateway.assumeRole(
      { ...TAGGED, attribution: { ...ATTRIBUTION, areTagsTransitive } },
      PATIENT,
    );
    assert.ok(outcome.ok);
    assert.equal(outcome.packedPolicyPercent, 1);
    const session = sts.identify(outcome.value.accessKeyId);
    assert.deepEqual(
      [session?.sessionName, session?.sourceIdentity, session?.tags, session?.transitiveTags],
      ['team.app', 'team.app.app-7d9', ATTRIBUTION.tags, areTagsTransitive ? ATTRIBUTION.tags : []],
    );
  }
});

test('tags and source identities that STS would refuse are not sent', async () => {
  using world = gatewayWith();
  for (const wrong of [
    { tags: [['team', 'a;b']] as const },
    { tags: [['aws:team', 'a']] as const },
    { tags: Array.from({ length: 51 }, (_, index) => [`k${index}`, 'v'] as const) },
    { sourceIdentity: 'x' },
    { sourceIdentity: 'x'.repeat(65) },
    { sourceIdentity: 'a b' },
  ]) {
    const outcome = await world.gateway.assumeRole({ ...TAGGED, attribution: { ...ATTRIBUTION, ...wrong } }, PATIENT);
    assert.ok(!outcome.ok);
    assert.deepEqual([outcome.category, outcome.code], ['bad-request', ''], JSON.stringify(wrong));
  }
  assert.equal(sts.calls.count(), 0);
});

test('a tag that the server’s own session passes on cannot be set again, and the error says so', async () => {
  const own = sts.session({
    roleArn: OWN_ROLE,
    sessionName: 'pod-identity',
    lifetimeMs: 3_600_000,
    transitiveTags: [['Kubernetes-Namespace', 'kube-system']],
  });
  useKeysOf(own.credentials);
  process.env['AWS_SESSION_TOKEN'] = own.credentials.sessionToken;
  using world = gatewayWith();
  const outcome = await world.gateway.assumeRole(TAGGED, PATIENT);
  assert.ok(!outcome.ok);
  assert.match(
    outcome.detail,
    /conflicts with a transitive tag key.*disable session tags in the Pod Identity association/,
  );
  assert.doesNotMatch(outcome.failure.message, /kube-system/);
  assert.equal((await world.gateway.assumeRole(identity, PATIENT)).ok, true, 'without tags it works');
});

test('tags that take more space than STS has are refused, and the error says what to do', async () => {
  using world = gatewayWith();
  const tags = Array.from({ length: 45 }, (_, index) => [`key-${index}`, 'v'.repeat(256)] as const);
  const outcome = await world.gateway.assumeRole({ ...TAGGED, attribution: { ...ATTRIBUTION, tags } }, PATIENT);
  assert.ok(!outcome.ok);
  assert.match(outcome.detail, /PackedPolicyTooLarge.*fewer or shorter session tags/);
});
