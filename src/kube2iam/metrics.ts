import type { Answer, Exchange } from '#agent/answer.ts';
import type { RouteName } from '#agent/route.ts';
import type { Sts } from '#aws/sts.ts';
import type { Identity } from '#domain/identity.ts';
import type { CredentialCache } from '#server/ports.ts';
import type { CredentialSource } from '#agent/ports.ts';
import type { Clock } from '#runtime/clock.ts';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Go's `ExponentialBuckets(0.001, 2, 14)`, written out, because computed values can print as 0.0640000001. */
const SECONDS_BUCKETS = [
  0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192,
];

/** kube2iam's names for the handlers of routes (`server/server.go`). */
const HANDLERS: Readonly<Record<RouteName, string>> = {
  'role-name': 'securityCredentialsHandler',
  credentials: 'roleHandler',
  health: 'healthHandler',
  own: 'debugStoreHandler',
  'iam-info': 'reverseProxyHandler',
  token: 'reverseProxyHandler',
  denied: 'reverseProxyHandler',
  proxy: 'reverseProxyHandler',
  ping: 'reverseProxyHandler',
};

export interface Kube2iamMetrics {
  readonly onAnswer: (exchange: Exchange, route: RouteName, answer: Answer, durationMs: number) => void;
  /** STS, with each call's time by role and code. */
  readonly timed: (sts: Sts, clock: Clock) => Sts;
  /** Count what is answered without asking STS. */
  readonly countHits: (credentials: CredentialCache) => Pick<CredentialCache, 'get'>;
  readonly countKnown: (source: CredentialSource) => CredentialSource;
}

export interface Kube2iamMetricsOptions {
  readonly registry: Registry;
  readonly version: string;
  /** Whether the metadata service of the node answers; asked at each scrape. */
  readonly isHealthy: () => Promise<boolean>;
}

/** kube2iam's metrics (`metrics/metrics.go`): names, types, labels and buckets to the letter. */
export function createKube2iamMetrics({ registry, version, isHealthy }: Kube2iamMetricsOptions): Kube2iamMetrics {
  const registers = [registry];
  const http = new Histogram({
    name: 'kube2iam_http_request_duration_seconds',
    help: 'Time to answer a request, by handler, method and HTTP status.',
    labelNames: ['code', 'method', 'handler'],
    buckets: SECONDS_BUCKETS,
    registers,
  });
  const calls = new Histogram({
    name: 'kube2iam_iam_request_duration_seconds',
    help: 'Time that an AssumeRole call took, by role and code.',
    labelNames: ['code', 'role_arn'],
    buckets: SECONDS_BUCKETS,
    registers,
  });
  for (const code of ['Success', 'UnknownError']) calls.zero({ code, role_arn: '' });
  const hits = new Counter({
    name: 'kube2iam_iam_cache_hits_total',
    help: 'Credentials answered without a call to STS, by role.',
    labelNames: ['role_arn'],
    registers,
  });
  const notFound = counter('k8s_pod_not_in_pod_cache', 'Requests from addresses of which no pod is known.', registry);
  counter('k8s_dup_req_count', 'Stays 0: two pods that claim an address are told apart by the watch.', registry);
  counter('k8s_dup_req_success_count', 'Stays 0, as the requests themselves.', registry);
  new Gauge({
    name: 'kube2iam_info',
    help: 'The program.',
    labelNames: ['version', 'build_date', 'commit_hash'],
    registers,
  })
    .labels({ version, build_date: '', commit_hash: '' })
    .set(1);
  const health: Gauge = new Gauge({
    name: 'kube2iam_healthcheck_status',
    help: '1 while the metadata service of the node answers, else 0.',
    registers,
    collect: async () => health.set((await isHealthy()) ? 1 : 0),
  });
  return {
    onAnswer: ({ request }, route, { status, body }, durationMs) => {
      const labels = { code: String(status), method: request.method ?? '', handler: HANDLERS[route] };
      http.observe(labels, durationMs / 1000);
      if (status === 404 && typeof body === 'string' && body.startsWith('pod with specificed')) notFound.inc();
    },
    timed: (sts, clock) => ({
      assumeRole: async (identity, signal) => {
        const startedMs = clock.monotonic();
        const outcome = await sts.assumeRole(identity, signal);
        const code = outcome.ok ? 'Success' : outcome.code === '' ? 'UnknownError' : outcome.code;
        calls.observe({ code, role_arn: identity.roleArn }, (clock.monotonic() - startedMs) / 1000);
        return outcome;
      },
    }),
    countHits: (credentials) => ({
      get: (identity: Identity, urgency, signal) => {
        if (urgency === 'request' && credentials.peek(identity) !== undefined) hits.inc({ role_arn: identity.roleArn });
        return credentials.get(identity, urgency, signal);
      },
    }),
    countKnown: (source) => ({
      ...source,
      knownCredentials: (client, role) => {
        const known = source.knownCredentials?.(client, role);
        if (known !== undefined) hits.inc({ role_arn: role });
        return known;
      },
    }),
  };
}

function counter(name: string, help: string, registry: Registry): Counter {
  return new Counter({ name: `kube2iam_iam_${name}`, help, registers: [registry] });
}
