import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { AssumeRoleCommand, GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { systemClock } from '#runtime/clock.ts';
import { createAuthority } from '#pki/authority.ts';
import { startSts, type Sts } from '#sandbox/sts/sts.ts';

const ACCOUNT = '123456789012';
const READER = `arn:aws:iam::${ACCOUNT}:role/team/reader`;

let sts: Sts;
before(async () => {
  sts = await startSts({ clock: systemClock });
});
after(() => sts.close());

interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

function userKeys(name = 'kiam'): Keys {
  const { accessKeyId, secretAccessKey } = sts.user(`arn:aws:iam::${ACCOUNT}:user/${name}`).credentials;
  return { accessKeyId, secretAccessKey };
}

async function withClient<T>(keys: Keys, use: (client: STSClient) => Promise<T>, region = 'eu-west-1'): Promise<T> {
  const client = new STSClient({ region, endpoint: sts.url, credentials: keys, maxAttempts: 1 });
  try {
    return await use(client);
  } finally {
    client.destroy();
  }
}

interface Refusal {
  readonly name: string;
  readonly message: string;
}

/** What the SDK makes of a refusal. */
async function refusal(attempt: Promise<unknown>): Promise<Refusal> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof Error) return { name: error.name, message: error.message };
  }
  return assert.fail('the call was not refused');
}

function assume(keys: Keys, input: Partial<ConstructorParameters<typeof AssumeRoleCommand>[0]> = {}) {
  const command = new AssumeRoleCommand({ RoleArn: READER, RoleSessionName: 'kiam-kiam', ...input });
  return withClient(keys, (client) => client.send(command));
}

test('the SDK assumes a role and is then who it became', async () => {
  const { Credentials: made, AssumedRoleUser: user } = await assume(userKeys(), {
    ExternalId: 'ext-42',
    DurationSeconds: 900,
  });
  assert.equal(user?.Arn, `arn:aws:sts::${ACCOUNT}:assumed-role/reader/kiam-kiam`);
  assert.match(made?.AccessKeyId ?? '', /^ASIA[A-Z2-7]{16}$/);
  const lifetimeMs = (made?.Expiration?.getTime() ?? 0) - Date.now();
  assert.ok(lifetimeMs > 890_000 && lifetimeMs <= 900_000, `it lives ${lifetimeMs} ms`);
  const keys = {
    accessKeyId: made?.AccessKeyId ?? '',
    secretAccessKey: made?.SecretAccessKey ?? '',
    sessionToken: made?.SessionToken ?? '',
  };
  const me = await withClient(keys, (client) => client.send(new GetCallerIdentityCommand({})), 'us-gov-west-1');
  assert.deepEqual([me.Arn, me.Account], [user?.Arn, ACCOUNT]);
  assert.deepEqual(sts.identify(keys.accessKeyId)?.externalId, 'ext-42');
});

test('keys that are wrong in any part are refused as AWS refuses them', async () => {
  const good = userKeys();
  const session = sts.session({ roleArn: READER, sessionName: 'one', lifetimeMs: 60_000 }).credentials;
  const cases: readonly [string, Keys][] = [
    ['SignatureDoesNotMatch', { ...good, secretAccessKey: 'wrong' }],
    ['InvalidClientTokenId', { ...good, accessKeyId: 'AKIAAAAAAAAAAAAAAAAA' }],
    ['InvalidClientTokenId', { ...session, sessionToken: 'wrong' }],
    ['InvalidClientTokenId', { accessKeyId: session.accessKeyId, secretAccessKey: session.secretAccessKey }],
    ['InvalidClientTokenId', { ...good, sessionToken: 'a user has none' }],
  ];
  for (const [expected, keys] of cases) {
    const { name } = await refusal(withClient(keys, (client) => client.send(new GetCallerIdentityCommand({}))));
    assert.equal(name, expected, JSON.stringify(keys));
  }
});

test('a session that has ended is refused', async () => {
  const { credentials } = sts.session({ roleArn: READER, sessionName: 'one', lifetimeMs: -1 });
  const { name } = await refusal(withClient(credentials, (client) => client.send(new GetCallerIdentityCommand({}))));
  assert.equal(name, 'ExpiredToken');
});

test('requests without a signature, or with a changed body, are refused', async () => {
  const unsigned = await fetch(sts.url, { method: 'POST', body: 'Action=GetCallerIdentity&Version=2011-06-15' });
  assert.equal(unsigned.status, 403);
  assert.match(await unsigned.text(), /<Code>MissingAuthenticationToken<\/Code>/);

  const client = new STSClient({ region: 'eu-west-1', endpoint: sts.url, credentials: userKeys(), maxAttempts: 1 });
  client.middlewareStack.add(
    (next) => (args) => {
      const { request } = args;
      if (typeof request === 'object' && request !== null && 'body' in request)
        request.body = String(request.body).replace('2011', '2012');
      return next(args);
    },
    { step: 'deserialize', priority: 'low' },
  );
  const { name } = await refusal(client.send(new GetCallerIdentityCommand({})));
  client.destroy();
  assert.equal(name, 'SignatureDoesNotMatch');
});

test('what AssumeRole must not be asked is a ValidationError', async () => {
  const user = userKeys();
  const session = sts.session({ roleArn: READER, sessionName: 'one', lifetimeMs: 60_000 }).credentials;
  const cases: readonly [Parameters<typeof assume>, RegExp][] = [
    [
      [user, { RoleArn: 'arn:x' }],
      /'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20/,
    ],
    [[user, { RoleArn: `arn:aws:iam::${ACCOUNT}:user/reader` }], /is invalid$/],
    [[user, { RoleSessionName: 'x' }], /'roleSessionName'.*greater than or equal to 2/],
    [[user, { RoleSessionName: 'x'.repeat(65) }], /'roleSessionName'.*less than or equal to 64/],
    [[user, { RoleSessionName: 'with space' }], /'roleSessionName'.*regular expression pattern/],
    [[user, { DurationSeconds: 899 }], /'durationSeconds'.*greater than or equal to 900/],
    [[user, { DurationSeconds: 43_201 }], /'durationSeconds'.*less than or equal to 43200/],
    [[user, { ExternalId: 'a b' }], /'externalId'/],
    [[session, { DurationSeconds: 3601 }], /exceeds the 1 hour session limit for roles assumed by role chaining/],
  ];
  for (const [[keys, input], expected] of cases) {
    const { name, message } = await refusal(assume(keys, input));
    assert.equal(name, 'ValidationError', JSON.stringify(input));
    assert.match(message, expected);
  }
  await assume(user, { DurationSeconds: 43_200 });
  await assume(session, { DurationSeconds: 3600 });
});

test('a role behaves as it is told to', async () => {
  const keys = userKeys('someone');
  const someone = `arn:aws:iam::${ACCOUNT}:user/someone`;
  const cases: readonly [Parameters<Sts['role']>[1], string, RegExp][] = [
    [
      { deny: true },
      'AccessDenied',
      new RegExp(`^User: ${someone} is not authorized to perform: sts:AssumeRole on resource: ${READER}$`),
    ],
    [{ trusted: ['arn:aws:iam::1:user/other'] }, 'AccessDenied', /not authorized/],
    [{ externalId: 'needed' }, 'AccessDenied', /not authorized/],
    [{ throttle: true }, 'Throttling', /^Rate exceeded$/],
    [{ fail: true }, 'InternalFailure', /^internal$/],
    [{ maxSessionDurationSeconds: 1800 }, 'ValidationError', /MaxSessionDuration/],
  ];
  for (const [behaviour, name, message] of cases) {
    sts.role(READER, behaviour);
    const refused = await refusal(assume(keys, { DurationSeconds: 3600 }));
    assert.equal(refused.name, name);
    assert.match(refused.message, message);
  }
  sts.role(READER, { externalId: 'needed' });
  await assume(keys, { ExternalId: 'needed' });
  sts.role(READER, { fail: true, times: 1 });
  await refusal(assume(keys));
  await assume(keys);
});

test('calls beyond the rate limit are throttled', async () => {
  sts.limitCallsPerSecond(2);
  const keys = userKeys();
  const outcomes = await Promise.allSettled([assume(keys), assume(keys), assume(keys), assume(keys)]);
  sts.limitCallsPerSecond(undefined);
  assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 2);
});

test('sessions can be made shorter than asked for', async () => {
  sts.overrideLifetimeMs(5000);
  const { Credentials: made } = await assume(userKeys());
  sts.overrideLifetimeMs(undefined);
  assert.ok((made?.Expiration?.getTime() ?? 0) - Date.now() <= 5000);
});

test('the log tells who asked for what, and how it ended', async () => {
  sts.calls.clear();
  const keys = userKeys('logged');
  await assume(keys, { RoleSessionName: 'logged', ExternalId: 'e1', DurationSeconds: 1000 });
  sts.role(READER, { deny: true, times: 1 });
  await refusal(assume(keys, { RoleSessionName: 'logged' }));
  const [first, second] = sts.calls.list(READER);
  assert.deepEqual(
    [first?.callerArn, first?.sessionName, first?.externalId, first?.durationSeconds, first?.outcome, second?.outcome],
    [`arn:aws:iam::${ACCOUNT}:user/logged`, 'logged', 'e1', 1000, 'ok', 'AccessDenied'],
  );
  assert.equal(sts.calls.count(), 2);
  assert.equal(sts.calls.countOf({ roleArn: READER, sessionName: 'logged', externalId: 'e1' }), 1);
});

test('it goes away and comes back at the same address', async () => {
  const keys = userKeys();
  await sts.listener.stop();
  const { message } = await refusal(assume(keys));
  assert.match(message, /ECONNREFUSED/);
  await sts.listener.start();
  await assume(keys);
});

test('it speaks HTTPS with a certificate of the authority', async () => {
  const authority = await createAuthority();
  const tls = await authority.issue({ commonName: 'sts', usage: 'server', ipAddresses: ['127.0.0.1'] });
  const secure = await startSts({ clock: systemClock, tls });
  assert.match(secure.url, /^https:/);
  const { get } = await import('node:https');
  const status = await new Promise<number | undefined>((resolve, reject) => {
    get(secure.url, { ca: authority.certificatePem }, (response) => resolve(response.resume().statusCode)).on(
      'error',
      reject,
    );
  });
  await secure.close();
  assert.equal(status, 403);
});
