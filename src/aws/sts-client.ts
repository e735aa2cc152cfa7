import type { Environment } from '#runtime/environment.ts';
import { getCACertificates } from 'node:tls';
import type { STSClientConfig } from '@aws-sdk/client-sts';
import { STSClient } from '@aws-sdk/client-sts';
import { createHttpAgent, createHttpsAgent } from '#proxy/agents.ts';
import { createProxyOf, namesProxy } from '#proxy/rules.ts';

import { sendOnlyWholeRequests } from './whole-request.ts';

export interface StsClientOptions {
  /** `''` is the global endpoint, signed for us-east-1; otherwise the region's own endpoint, in any partition. */
  readonly region: string;
  /** A URL in place of AWS's own; the SDK reads `AWS_ENDPOINT_URL_STS` and profiles itself when there is none. */
  readonly endpoint?: string | undefined;
  /** PEM of certificates to trust besides Node's own: the file that `AWS_CA_BUNDLE` names, which the SDK does not read. */
  readonly caBundle?: string | undefined;
  /** Without it the SDK's default chain: environment, profiles, web identity, container and instance credentials. */
  readonly credentials?: STSClientConfig['credentials'];
  /** In place of connections to STS. */
  readonly requestHandler?: STSClientConfig['requestHandler'];
  /** Says through which proxy AWS is asked: the process's own. Default: through none. */
  readonly environment?: Environment | undefined;
}

/** The credential cache never has more calls in flight. */
const MOST_SOCKETS = 128;
const CONNECT_LIMIT_MS = 3000;
const ANSWER_LIMIT_MS = 10_000;

/** A client for STS that tries once: the credential cache decides about retries. Its owner destroys it. */
export function createStsClient(options: StsClientOptions): STSClient {
  const { region, endpoint, credentials, requestHandler } = options;
  const client = new STSClient({
    // AWS keeps the global endpoint in us-east-1:
    // https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html
    ...(region === '' ? { region: 'us-east-1', useGlobalEndpoint: true } : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    maxAttempts: 1,
    requestHandler: requestHandler ?? {
      ...agentsFor(options),
      connectionTimeout: CONNECT_LIMIT_MS,
      requestTimeout: ANSWER_LIMIT_MS,
      throwOnRequestTimeout: true,
    },
  });
  sendOnlyWholeRequests(client);
  return client;
}

/** For the SDK's calls of STS and of what its default chain asks over the network; never for the node's own metadata service. */
function agentsFor({ caBundle, environment = {}, endpoint }: StsClientOptions) {
  const sockets = { keepAlive: true, maxSockets: MOST_SOCKETS };
  const proxyOf = createProxyOf(environment);
  const chooseProxy = (hostname: string, port: number): URL | undefined =>
    proxyOf({ protocol: 'https:', hostname, port: String(port) });
  // AWS itself takes no requests without TLS: only an endpoint of one's own may.
  const plain = URL.parse(endpoint ?? environment['AWS_ENDPOINT_URL_STS'] ?? environment['AWS_ENDPOINT_URL'] ?? '');
  return {
    httpAgent: createHttpAgent(plain?.protocol === 'http:' ? proxyOf(plain) : undefined, sockets),
    httpsAgent: createHttpsAgent(
      namesProxy(environment) ? chooseProxy : undefined,
      caBundle === undefined ? sockets : { ...sockets, ca: [...getCACertificates('default'), caBundle] },
    ),
  };
}
