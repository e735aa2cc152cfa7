import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import { createStsGateway } from '#aws/sts-gateway.ts';
import { systemClock } from '#runtime/clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

/** Stands in for every place that the SDK's chain may ask, and says by the access key id which one it was. */
const server = createServer((request, response) => {
  void bodyOf(request).then((body) => answer(request, body, response));
});
const signedBy: string[] = [];
const environment = { ...process.env };
let origin = '';
let folder = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiam-chain-'));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  origin = `http://127.0.0.1:${address.port}`;
  await writeFile(join(folder, 'token'), 'a token');
  await writeFile(join(folder, 'profiles'), '[team]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n');
});

after(async () => {
  process.env = environment;
  server.close();
  await rm(folder, { recursive: true });
});

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

const SESSION_ARN = 'arn:aws:sts::123456789012:assumed-role/a/kiam-kiam';
const ENDS = new Date(Date.now() + 3_600_000).toISOString();

function answer(request: IncomingMessage, body: string, response: ServerResponse): void {
  const action = new URLSearchParams(body).get('Action') ?? '';
  if (request.method === 'PUT') response.end('an IMDSv2 token');
  else if (request.url === '/container') response.end(keys('ASIACONTAINER'));
  else if (request.url === '/latest/meta-data/iam/security-credentials/') response.end('node');
  else if (request.url === '/latest/meta-data/iam/security-credentials/node') response.end(keys('ASIAINSTANCE'));
  else if (action === 'AssumeRoleWithWebIdentity') response.end(assumed(action, 'ASIAWEBIDENTITY'));
  else if (action === 'AssumeRole') {
    signedBy.push(/Credential=([^/]+)/.exec(request.headers.authorization ?? '')?.[1] ?? '');
    response.end(assumed(action, 'ASIAPOD'));
  } else {
    response.statusCode = 404;
    response.end();
  }
}

function keys(accessKeyId: string): string {
  const held = { AccessKeyId: accessKeyId, SecretAccessKey: 's', Token: 't', Expiration: ENDS };
  return JSON.stringify({ Code: 'Success', Type: 'AWS-HMAC', LastUpdated: ENDS, ...held });
}

function assumed(action: string, accessKeyId: string): string {
  return (
    `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result><AssumedRoleUser><Arn>${SESSION_ARN}</Arn></AssumedRoleUser><Credentials>` +
    `<AccessKeyId>${accessKeyId}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>` +
    `<Expiration>${ENDS}</Expiration></Credentials></${action}Result></${action}Response>`
  );
}

const links: readonly (readonly [string, () => Record<string, string>])[] = [
  ['AKIAENVIRONMENT', () => ({ AWS_ACCESS_KEY_ID: 'AKIAENVIRONMENT', AWS_SECRET_ACCESS_KEY: 's' })],
  ['AKIAPROFILE', () => ({ AWS_PROFILE: 'team', AWS_SHARED_CREDENTIALS_FILE: join(folder, 'profiles') })],
  [
    'ASIAWEBIDENTITY',
    () => ({ AWS_WEB_IDENTITY_TOKEN_FILE: join(folder, 'token'), AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/irsa' }),
  ],
  [
    'ASIACONTAINER',
    () => ({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${origin}/container`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: join(folder, 'token'),
    }),
  ],
  ['ASIAINSTANCE', () => ({ AWS_EC2_METADATA_DISABLED: 'false', AWS_EC2_METADATA_SERVICE_ENDPOINT: origin })],
];

for (const [accessKeyId, variables] of links) {
  test(`the server signs with what the SDK's chain finds: ${accessKeyId}`, async () => {
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
    process.env['AWS_EC2_METADATA_DISABLED'] = 'true';
    process.env['AWS_SHARED_CREDENTIALS_FILE'] = '/nonexistent';
    process.env['AWS_CONFIG_FILE'] = '/nonexistent';
    process.env['AWS_ENDPOINT_URL_STS'] = origin;
    Object.assign(process.env, variables());
    signedBy.length = 0;
    const told: number[] = [];
    const gateway = createStsGateway({
      region: '',
      environmentRegion: 'eu-west-1',
      sessionDurationSeconds: 3600,
      assumeRoleArn: '',
      clock: systemClock,
      logger: recordingLogger().logger,
      remaining: { set: (seconds) => void told.push(seconds) },
    });
    const identity = {
      roleArn: 'arn:aws:iam::123456789012:role/a',
      sessionName: 'kiam',
      externalId: '',
      attribution: NO_ATTRIBUTION,
    };
    const outcome = await gateway.assumeRole(identity, new AbortController().signal);
    gateway.close();
    assert.equal(outcome.ok, true, JSON.stringify(outcome));
    assert.deepEqual(signedBy, [accessKeyId]);
    assert.equal(told.length > 0, accessKeyId.startsWith('ASIA'), 'keys without an end have no seconds left');
  });
}
