import { TIMED_CLIENTS, type TimedClient } from '#agent/patience.ts';

import type { AllSdkResults } from './sdk-results.ts';
import { sdkTables } from './sdk-tables.ts';

/** What clients ask first, and what they get: docs/clients.md is written from this, and a test replays it. */
export interface ClientRequest {
  readonly method: 'GET' | 'PUT';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether it carries the token that the client's PUT brought. */
  readonly hasToken?: boolean;
  readonly status: number;
  /** With `--require-imdsv2`, where that is another. */
  readonly strictStatus?: number;
  /** For a reader: what the client makes of the answer. */
  readonly means: string;
}

export interface KnownClient {
  readonly name: string;
  /** Where in its sources this was read. */
  readonly source: string;
  readonly requests: readonly ClientRequest[];
  /** The clients of `npm run test:sdks` that were seen to make these requests. */
  readonly seen?: readonly string[];
}

export const ROLE = 'reader';
const LIST = '/latest/meta-data/iam/security-credentials/';
const TTL = 'x-aws-ec2-metadata-token-ttl-seconds';

function put(ttlSeconds: number): ClientRequest {
  return {
    method: 'PUT',
    path: '/latest/api/token',
    headers: { [TTL]: String(ttlSeconds) },
    status: 200,
    means: 'a token, IMDSv2',
  };
}

const list: ClientRequest = { method: 'GET', path: LIST, hasToken: true, status: 200, means: 'the name of the role' };
const listWithoutSlash: ClientRequest = { ...list, path: LIST.slice(0, -1) };
const role: ClientRequest = {
  method: 'GET',
  path: `${LIST}${ROLE}`,
  hasToken: true,
  status: 200,
  means: 'the credentials',
};
const closed = (path: string, means: string, hasToken = true): ClientRequest => ({
  method: 'GET',
  path,
  hasToken,
  status: 404,
  ...(hasToken ? {} : { strictStatus: 401 }),
  means,
});

/** What is asked with a token of IMDSv2, in this order. */
function usual(name: string, source: string, seen: readonly string[], ttlSeconds = 21_600): KnownClient {
  return { name, source, requests: [put(ttlSeconds), list, role], seen };
}

export const CLIENTS: readonly KnownClient[] = [
  usual('botocore, AWS CLI', 'botocore `botocore/utils.py`, `InstanceMetadataFetcher`', [
    'boto3',
    'aiobotocore',
    'aws-cli',
  ]),
  usual('AWS SDK for JavaScript v3', 'smithy-typescript `credential-provider-imds`', ['javascript-v3']),
  usual('AWS SDK for JavaScript v2', 'aws-sdk-js `lib/metadata_service.js`', ['javascript-v2']),
  usual(
    'AWS SDK for Go v2; rclone, Telegraf and others through it',
    'aws-sdk-go-v2 `feature/ec2/imds`',
    ['go-v2'],
    300,
  ),
  usual('AWS SDK for Go v1', 'aws-sdk-go `aws/ec2metadata`', ['go-v1']),
  usual('AWS SDK for Rust; Vector', 'smithy-rs `aws-config/src/imds`', ['rust']),
  usual('AWS SDK for Kotlin', 'aws-sdk-kotlin `aws-config`, `imds/ImdsClient.kt`', ['kotlin']),
  usual('AWS SDK for Ruby', 'aws-sdk-core `instance_profile_credentials.rb`', ['ruby']),
  usual('AWS common runtime for C; Mountpoint for S3', 'aws-c-auth `source/aws_imds_client.c`', [
    'awscrt',
    'mountpoint',
  ]),
  {
    name: 'AWS SDK for Java v2 from 2.58 on; Hadoop S3A',
    source: 'aws-sdk-java-v2 `InstanceProfileCredentialsProvider`',
    requests: [
      put(21_600),
      list,
      { ...role, headers: { 'x-amzn-extended': '1' }, means: 'the credentials, with `AccountId`' },
    ],
    seen: ['java-v2', 'java-v1'],
  },
  {
    name: 'AWS SDK for C++; pyarrow, DuckDB, ClickHouse',
    source: 'aws-sdk-cpp `source/internal/AWSHttpResourceClient.cpp`',
    requests: [
      put(21_600),
      listWithoutSlash,
      role,
      closed('/latest/meta-data/placement/availability-zone', 'no region from here: set `AWS_REGION`'),
    ],
    seen: ['pyarrow', 'duckdb'],
  },
  {
    name: 'Fluent Bit',
    source: 'fluent-bit `src/aws/flb_aws_imds.c`',
    requests: [
      {
        method: 'GET',
        path: '/',
        headers: { 'x-aws-ec2-metadata-token': 'INVALID' },
        status: 401,
        means: 'this is IMDSv2 (200 would be IMDSv1, anything else no service)',
      },
      put(21_600),
      list,
      role,
    ],
  },
  usual('GDAL (`/vsis3/`)', 'gdal `port/cpl_aws.cpp`', ['gdal'], 10),
  usual('minio-go, minio-py', 'minio-go `pkg/credentials/iam_aws.go`', ['minio-go', 'minio']),
  usual('OpenDAL, object_store', 'reqsign, and object_store `src/aws/credential.rs`', ['opendal', 'obstore']),
  usual('s3fs', 's3fs-fuse `src/s3fs_cred.cpp`', []),
  {
    name: 'AsyncAws for PHP, as in Debian 12',
    source: 'async-aws/core `src/Credentials/InstanceProvider.php`',
    requests: [listWithoutSlash, role].map((request) => ({ ...request, hasToken: false, strictStatus: 401 })),
    seen: ['php'],
  },
  {
    name: 'Envoy',
    source: 'envoy `source/extensions/common/aws`',
    requests: [put(21_600), listWithoutSlash, role].map((request) => ({
      ...request,
      headers: { ...request.headers, host: '169.254.169.254:80' },
    })),
  },
  {
    name: 'Datadog agent',
    source: 'datadog-agent `pkg/util/ec2/imds_helpers.go`',
    requests: [
      closed('/latest/meta-data/instance-id', 'no host name from EC2: it takes another', false),
      closed('/latest/meta-data/hostname', 'the same', false),
    ],
  },
  {
    name: 'what asks for Google Cloud or Azure',
    source: 'their SDKs’ detection of the platform',
    requests: [
      { ...closed('/', 'not this platform', false), headers: { 'metadata-flavor': 'Google' } },
      { ...closed('/metadata/instance', 'not this platform', false), headers: { metadata: 'true' } },
    ],
  },
];

function rowOf({ method, path, headers = {}, hasToken, status, strictStatus, means }: ClientRequest): string {
  const sent = Object.entries(headers).map(([name, value]) => `\`${name}: ${value}\``);
  const all = hasToken === true ? ['its token', ...sent] : sent;
  const strict = strictStatus === undefined ? '' : `, ${strictStatus} with \`--require-imdsv2\``;
  return `| ${method} \`${path}\` | ${all.join(', ') || '-'} | ${status}${strict} | ${means} |`;
}

function sectionOf({ name, source, requests }: KnownClient): string {
  return [
    `### ${name}`,
    '',
    `From ${source}.`,
    '',
    '| request | with | answer | which tells the client |',
    '|---|---|---|---|',
    ...requests.map(rowOf),
  ].join('\n');
}

/** docs/clients.md as a whole. */
export function clientsPage(results: AllSdkResults): string {
  const measured = sdkTables(results);
  return `# Clients

What clients of the metadata service ask first, and what the agent answers to a pod with the role \`${ROLE}\` under the default flags. This page is written by \`npm run docs\`; a test replays every request.

## First requests

${CLIENTS.map(sectionOf).join('\n\n')}

## Where the agent is not EC2

| request | EC2 | agent |
|---|---|---|
| PUT for a token with \`Expect: 100-continue\` | 417 | \`100 Continue\`, then 200 with the token: no client depends on the 417 |
| a request with another expectation | 417 | 417 |
| no token, or one that is not valid, where one is required | 401, \`text/html\` | 401, \`text/plain\`: clients look at the status |
| too many requests | throttled | 429 with \`Retry-After: 1\` and \`x-amz-retry-after: 1000\`; the connection is closed |
| a pod that is not known yet, STS or the servers away | - | 503 with \`Retry-After: 1\`, without \`x-amz-retry-after\`: a quick retry is right |
| many requests at once on a connection | answered | answered one after the other |
| a \`Host\` that is a name | answered | 403 |

## How long a request waits

A pod often asks before the agent can know it: the kubelet reports a pod's address up to some seconds after its first container has started. The agent keeps the request waiting and answers as soon as the pod is known.

- **The token's request waits too**, for 0.9 s unless the table below says otherwise: every client asks for a token first, with a time-out of its own, so that this time is won. A token is issued whatever comes of it. A client that gives this request up and asks again gets its token within 0.9 s; one that continues without a token is answered as well, unless \`--require-imdsv2\` is given.
- **The role and the credentials** each wait for 5 s, as with Kiam, or until the client hangs up.
- **Some clients are answered at another time**: most of them 503 before their time-out, because they try again after a 503 but not after a time-out, or sooner; two not before they hang up on the token, because they ask again. They are known by the beginning of their \`User-Agent\`:

| client | token | role, credentials | its time-outs and attempts, and where that can be read |
|---|---|---|---|
${TIMED_CLIENTS.map(patienceRow).join('\n')}

Every other client waits as with Kiam. Where its one attempt ends with its own time-out, an earlier 503 would only take time from it: Java v1 and v2 and AsyncAws give up at a 503 as well.

## First calls, measured

The tables of this page are measured by \`KIAM_SDKS_RECORD=docs/clients-results.json npm run test:sdks\`, which writes [that file](clients-results.json), and then written by \`npm run docs\`; see [testing.md](testing.md). Each client runs as a pod behind the agent's redirect, with nothing configured, and its role was never asked for before; STS takes 200 ms. All were measured on two very busy cores, so that times are long rather than short.

Whether a first call succeeds when the pod becomes known so many milliseconds after the client's first packet, and how long that may take with Kiam's agent instead of ours, before the same server:

${measured.late}

No answer can help the others at 3,000 ms: their first call is two requests at most that wait, the token's and the role's (for AsyncAws one), of one second each, and nothing is repeated. They are served when the program asks again.

## Retries, measured

Requests to the metadata service and seconds from the first packet until the program has credentials ("none": until it gives up) or, from "no role" on, until it gives up. \`no role\`: the pod is known and has none (404). \`denied\`: its namespace does not permit the role (403). Throttled is 429 to every request. awscrt ends its process whenever a role is refused, whatever the status.

${measured.retries}

## A role that STS refuses, measured

The agent answers 500 with \`error fetching credentials: AWS STS refused the role: AccessDenied\`, as Kiam does but for the text of STS, which names the server's role. EC2 would answer 200 with \`Code\`, \`Message\` and \`LastUpdated\`. Both were given to each client, with the same message: requests, time until it gives up, and whether the error that the program gets names the cause.

${measured.refused}

Most clients name the cause after neither, and Rust after both. Go v2, minio-go and minio-py name it after a 200 alone, and Go v2, minio-py and Rust then ask once where they repeat a 500 for some seconds. But JavaScript v2 never ends its call after such a 200, C++ asks 28 times instead of 16, object_store tells the text of a 500 and of a 200 only that a field is missing, and Kiam's metrics and log lines, which go by the status, would count a refusal as a success. So the answer is 500, whichever server is behind the agent; the cause stands in the agent's log, and in full in the server's log and in the pod's Event \`KiamCredentialError\`.
`;
}

function patienceRow({ name, userAgent, tokenMs, answerMs, why }: TimedClient): string {
  return `| ${name} (\`${userAgent.source.replaceAll(/[\^\\?]/g, '')}\`) | ${tokenMs} ms | ${answerMs} ms | ${why} |`;
}
