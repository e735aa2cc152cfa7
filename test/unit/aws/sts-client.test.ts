import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssumeRoleCommand, type STSClient } from '@aws-sdk/client-sts';
import { createStsClient } from '#aws/sts-client.ts';
import { systemClock } from '#runtime/clock.ts';
import { createAuthority } from '#pki/authority.ts';
import { startSts } from '#sandbox/sts/sts.ts';

const command = new AssumeRoleCommand({ RoleArn: 'arn:aws:iam::123456789012:role/a', RoleSessionName: 'kiam-kiam' });

/** Where a call would go and what region it is signed for; it is stopped before it leaves. */
async function destination(client: STSClient): Promise<{ host: string; signedFor: string }> {
  let host = '';
  let signedFor = '';
  client.middlewareStack.add(
    () => (args) => {
      const { request } = args;
      if (typeof request === 'object' && request !== null && 'hostname' in request && 'headers' in request) {
        host = String(request.hostname);
        signedFor = /\/\d{8}\/([^/]+)\/sts\//.exec(JSON.stringify(request.headers))?.[1] ?? '';
      }
      return Promise.reject(new Error('stopped'));
    },
    { step: 'finalizeRequest', priority: 'low' },
  );
  await assert.rejects(client.send(command));
  client.destroy();
  return { host, signedFor };
}

test('a region has its own endpoint in every partition, and no region is the global one', async () => {
  const cases = [
    ['', 'sts.amazonaws.com', 'us-east-1'],
    ['us-east-1', 'sts.us-east-1.amazonaws.com', 'us-east-1'],
    ['eu-west-1', 'sts.eu-west-1.amazonaws.com', 'eu-west-1'],
    ['us-gov-west-1', 'sts.us-gov-west-1.amazonaws.com', 'us-gov-west-1'],
    ['us-gov-east-1', 'sts.us-gov-east-1.amazonaws.com', 'us-gov-east-1'],
    ['cn-north-1', 'sts.cn-north-1.amazonaws.com.cn', 'cn-north-1'],
    ['cn-northwest-1', 'sts.cn-northwest-1.amazonaws.com.cn', 'cn-northwest-1'],
    ['us-iso-east-1', 'sts.us-iso-east-1.c2s.ic.gov', 'us-iso-east-1'],
    ['us-isob-east-1', 'sts.us-isob-east-1.sc2s.sgov.gov', 'us-isob-east-1'],
    ['eu-isoe-west-1', 'sts.eu-isoe-west-1.cloud.adc-e.uk', 'eu-isoe-west-1'],
    ['us-isof-south-1', 'sts.us-isof-south-1.csp.hci.ic.gov', 'us-isof-south-1'],
    ['eusc-de-east-1', 'sts.eusc-de-east-1.amazonaws.eu', 'eusc-de-east-1'],
  ] as const;
  for (const [region, host, signedFor] of cases) {
    const client = createStsClient({ region, credentials: { accessKeyId: 'A', secretAccessKey: 'S' } });
    assert.deepEqual(await destination(client), { host, signedFor }, region);
  }
});

test('a certificate that only the bundle vouches for is taken with it, and not without', async () => {
  const authority = await createAuthority();
  const tls = await authority.issue({ commonName: 'sts', ipAddresses: ['127.0.0.1'], usage: 'server' });
  const sts = await startSts({ clock: systemClock, tls });
  const credentials = sts.user('arn:aws:iam::123456789012:user/kiam').credentials;
  const options = { region: 'eu-west-1', endpoint: sts.url, credentials };
  const trusting = createStsClient({ ...options, caBundle: authority.certificatePem });
  const doubting = createStsClient(options);
  try {
    const { Credentials } = await trusting.send(command);
    assert.ok(Credentials?.AccessKeyId);
    await assert.rejects(doubting.send(command), /certificate/);
  } finally {
    trusting.destroy();
    doubting.destroy();
    await sts.close();
  }
});

test('a call is tried once: the cache decides about another', async (t) => {
  const sts = await startSts({ clock: systemClock });
  t.after(() => sts.close());
  sts.everywhere({ fail: true });
  const credentials = sts.user('arn:aws:iam::123456789012:user/kiam').credentials;
  const client = createStsClient({ region: '', endpoint: sts.url, credentials });
  await assert.rejects(client.send(command));
  assert.equal(sts.calls.count(), 1);
  client.destroy();
});

for (const [what, from, to] of [
  ['has another tag than was asked for', 'Value=payments', 'Value=victim'],
  ['has a tag that nobody asked for', '&Tags.member.1', '&Tags.member.2.Key=a&Tags.member.2.Value=b&Tags.member.1'],
  ['lacks the value of a tag', '&Tags.member.1.Value=payments', ''],
  ['has a tag twice', '&Tags.member.1.Value', '&Tags.member.1.Value=payments&Tags.member.1.Value'],
  ['passes on a tag that it was not to', '&DurationSeconds', '&TransitiveTagKeys.member.1=team&DurationSeconds'],
] as const) {
  test(`a request whose body ${what} is not sent`, async (t) => {
    const sts = await startSts({ clock: systemClock });
    t.after(() => sts.close());
    const credentials = sts.user('arn:aws:iam::123456789012:user/kiam').credentials;
    const client = createStsClient({ region: '', endpoint: sts.url, credentials });
    client.middlewareStack.add(
      (next) => (args) => {
        const { request } = args;
        assert.ok(typeof request === 'object' && request !== null && 'body' in request);
        const changed = String(request.body).replace(from, to);
        assert.notEqual(changed, request.body);
        request.body = changed;
        return next(args);
      },
      { step: 'build', priority: 'high' },
    );
    const Tags = [{ Key: 'team', Value: 'payments' }];
    const tagged = new AssumeRoleCommand({ ...command.input, DurationSeconds: 900, Tags });
    await assert.rejects(client.send(tagged), /the request to AWS STS is not what was asked for/);
    assert.equal(sts.calls.count(), 0);
    client.destroy();
  });
}
