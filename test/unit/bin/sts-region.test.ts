import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { GetCallerIdentityCommand } from '@aws-sdk/client-sts';
import { createOwnCredentials } from '#aws/own-credentials.ts';
import { systemClock } from '#runtime/clock.ts';

import { ownCredentialsOptions } from '../../../src/bin/own-credentials.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const environment = { ...process.env };

beforeEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  const keys = { AWS_ACCESS_KEY_ID: 'AKIA', AWS_SECRET_ACCESS_KEY: 'SECRET' };
  Object.assign(process.env, keys, { AWS_SHARED_CREDENTIALS_FILE: '/nonexistent', AWS_CONFIG_FILE: '/nonexistent' });
});

after(() => {
  process.env = environment;
});

function optionsOf(region: string) {
  return ownCredentialsOptions({ region, sessionDurationMs: 3_600_000, assumeRoleArn: '' }, '');
}

/** The host that a server with these variables asks, and the region that it signs for. */
async function asked(region: string, variables: Readonly<Record<string, string>>): Promise<string> {
  Object.assign(process.env, variables);
  let place = '';
  const handle = (request: { readonly hostname: string; readonly headers: Record<string, string> }) => {
    place = `${request.hostname} ${/\/\d{8}\/([^/]+)\/sts\//.exec(request.headers['authorization'] ?? '')?.[1]}`;
    return Promise.reject(new Error('stopped'));
  };
  const { logger } = recordingLogger();
  const own = createOwnCredentials({ ...optionsOf(region), clock: systemClock, logger, requestHandler: { handle } });
  await assert.rejects(own.client.current.send(new GetCallerIdentityCommand({})), /stopped/);
  own.close();
  return place;
}

const GLOBAL = 'sts.amazonaws.com us-east-1';
const FRANKFURT = 'sts.eu-central-1.amazonaws.com eu-central-1';
const regional = { AWS_STS_REGIONAL_ENDPOINTS: 'regional' };

// What aws-sdk-go 1.35.10, which Kiam has, makes of the same variables.
for (const [what, flag, variables, place] of [
  ['nothing names a region', '', {}, GLOBAL],
  ['AWS_REGION is empty', '', { ...regional, AWS_REGION: '' }, GLOBAL],
  ['AWS_REGION is one of the old regions', '', { AWS_REGION: 'eu-central-1' }, GLOBAL],
  ['legacy is written out', '', { AWS_REGION: 'eu-central-1', AWS_STS_REGIONAL_ENDPOINTS: 'Legacy' }, GLOBAL],
  ['the mode is empty', '', { AWS_REGION: 'eu-central-1', AWS_STS_REGIONAL_ENDPOINTS: '' }, GLOBAL],
  ['endpoints are regional', '', { AWS_REGION: 'eu-central-1', ...regional }, FRANKFURT],
  ['regional is in capitals', '', { AWS_REGION: 'eu-central-1', AWS_STS_REGIONAL_ENDPOINTS: 'REGIONAL' }, FRANKFURT],
  ['AWS_REGION is in China', '', { AWS_REGION: 'cn-north-1' }, 'sts.cn-north-1.amazonaws.com.cn cn-north-1'],
  ['AWS_REGION is of GovCloud', '', { AWS_REGION: 'us-gov-west-1' }, 'sts.us-gov-west-1.amazonaws.com us-gov-west-1'],
  ['AWS_REGION is an opt-in region', '', { AWS_REGION: 'af-south-1' }, 'sts.af-south-1.amazonaws.com af-south-1'],
  ['AWS_REGION is Seoul', '', { AWS_REGION: 'ap-northeast-2' }, 'sts.ap-northeast-2.amazonaws.com ap-northeast-2'],
  ['AWS_REGION is aws-global', '', { AWS_REGION: 'aws-global', ...regional }, GLOBAL],
  ['there is AWS_DEFAULT_REGION alone', '', { AWS_DEFAULT_REGION: 'eu-central-1', ...regional }, GLOBAL],
  [
    'AWS_DEFAULT_REGION counts',
    '',
    { AWS_DEFAULT_REGION: 'eu-central-1', AWS_SDK_LOAD_CONFIG: '1', ...regional },
    FRANKFURT,
  ],
  [
    'AWS_REGION stands before AWS_DEFAULT_REGION',
    '',
    { AWS_REGION: 'eu-central-1', AWS_DEFAULT_REGION: 'eu-west-1', AWS_SDK_LOAD_CONFIG: 'true', ...regional },
    FRANKFURT,
  ],
  ['--region is given', 'eu-central-1', { AWS_REGION: 'cn-north-1', AWS_STS_REGIONAL_ENDPOINTS: 'legacy' }, FRANKFURT],
  ['--region is given, and the variables are wrong', 'eu-central-1', { AWS_REGION: 'evil.example/' }, FRANKFURT],
] as const) {
  test(`the server asks STS at ${place.split(' ', 1)[0]} where ${what}`, async () => {
    assert.equal(await asked(flag, variables), place);
  });
}

for (const [variables, reason] of [
  [{ AWS_REGION: 'evil.example/' }, 'AWS_REGION is not the name of a region such as eu-west-1'],
  [{ AWS_REGION: 'eu-west-1.evil.example' }, 'AWS_REGION is not the name of a region such as eu-west-1'],
  [
    { AWS_DEFAULT_REGION: 'EU', AWS_SDK_LOAD_CONFIG: 'true' },
    'AWS_DEFAULT_REGION is not the name of a region such as eu-west-1',
  ],
  [
    { AWS_REGION: 'eu-west-1', AWS_STS_REGIONAL_ENDPOINTS: 'global' },
    'AWS_STS_REGIONAL_ENDPOINTS is neither legacy nor regional',
  ],
] as const) {
  test(`the server does not start with ${JSON.stringify(variables)}`, () => {
    Object.assign(process.env, variables);
    assert.throws(() => optionsOf(''), { message: reason });
  });
}
