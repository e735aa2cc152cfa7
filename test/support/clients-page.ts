import { IMPATIENT_CLIENTS, type ImpatientClient } from '#agent/patience.ts';

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
function usual(name: string, source: string, ttlSeconds = 21_600): KnownClient {
  return { name, source, requests: [put(ttlSeconds), list, role] };
}

export const CLIENTS: readonly KnownClient[] = [
  usual('botocore, AWS CLI', 'botocore `botocore/utils.py`, `InstanceMetadataFetcher`'),
  usual('AWS SDK for JavaScript v3', 'smithy-typescript `credential-provider-imds`'),
  usual('AWS SDK for Go v2; rclone, Telegraf and others through it', 'aws-sdk-go-v2 `feature/ec2/imds`', 300),
  usual('AWS SDK for Rust; Vector', 'smithy-rs `aws-config/src/imds`'),
  {
    name: 'AWS SDK for Java v2 from 2.58 on; Hadoop S3A',
    source: 'aws-sdk-java-v2 `InstanceProfileCredentialsProvider`',
    requests: [
      put(21_600),
      list,
      { ...role, headers: { 'x-amzn-extended': '1' }, means: 'the credentials, with `AccountId`' },
    ],
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
  usual('GDAL (`/vsis3/`)', 'gdal `port/cpl_aws.cpp`', 10),
  usual('minio-go, OpenDAL', 'minio-go `pkg/credentials/iam_aws.go`'),
  usual('s3fs', 's3fs-fuse `src/s3fs_cred.cpp`'),
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
export function clientsPage(): string {
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

- **The token's request waits too**, for 0.9 s (0.4 s for Go v2): every client asks for a token first, with a time-out of its own, so that this time is won. A token is issued whatever comes of it. A client whose time-out for the token runs out continues without one, which is answered as well unless \`--require-imdsv2\` is given.
- **The role and the credentials** each wait for 5 s, as with Kiam, or until the client hangs up.
- **Some clients are answered 503 before their time-out**, because they try again after a 503 but not after a time-out, or sooner. They are known by the beginning of their \`User-Agent\`:

| client | token | role, credentials | its time-outs and attempts, and where that can be read |
|---|---|---|---|
${IMPATIENT_CLIENTS.map(patienceRow).join('\n')}

Every other client waits as with Kiam: boto3 and the AWS CLI, JavaScript v3 (which says nothing of itself), Java, .NET, C++, minio-go, OpenDAL. Their one attempt ends with their own time-out, so that an earlier 503 would only take time from them.

What the first call of a stock client comes to, by \`npm run test:sdks\` in November 2026, where its pod becomes known so long after the client's first packet, with a role that nobody asked STS for before and STS taking 200 ms:

| client | 300 ms | 800 ms | 1,500 ms | 3,000 ms |
|---|---|---|---|---|
| JavaScript v3 (3.1173.0) | credentials | credentials | credentials | none: it has given up |
| JavaScript v2 (2.1693.0) | credentials | credentials | credentials | credentials |
| boto3 (1.44.5) | credentials | credentials | credentials | none: it has given up |
| AWS CLI (1.46.3) | credentials | credentials | credentials | none: it has given up |
| Go v2 | credentials | credentials | credentials | credentials |
`;
}

function patienceRow({ name, userAgent, tokenMs, answerMs, why }: ImpatientClient): string {
  return `| ${name} (\`${userAgent.source.replaceAll(/[\^\\?]/g, '')}\`) | ${tokenMs} ms | ${answerMs} ms | ${why} |`;
}
