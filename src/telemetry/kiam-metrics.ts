import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import { createHotCounter, createHotHistogram } from './hot-metrics.ts';
import type { HotCounter, HotHistogram } from './hot-metrics.ts';

/**
 * Kiam's own metrics: names, types, labels and buckets are kept to the letter, so that dashboards and alerts keep working
 * (docs/specification.md, 11). Both daemons create all of them, as Kiam does by linking the same packages into one program.
 */

/** Go's `ExponentialBuckets(0.001, 2, 13)`, written out: computed ones can print as 0.0640000001. */
const SECONDS_BUCKETS = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096];

/** The values of the label `handler`. */
export type MetadataHandler = 'roleName' | 'credentials' | 'health' | 'proxy';

export interface MetadataMetrics {
  /** In seconds. */
  readonly handlerLatency: HotHistogram;
  readonly credentialFetchErrors: Counter<'handler'>;
  readonly credentialEncodeErrors: Counter<'handler'>;
  readonly findRoleErrors: Counter<'handler'>;
  readonly emptyRole: Counter<'handler'>;
  readonly success: HotCounter<'handler'>;
  readonly responses: HotCounter<'handler' | 'code'>;
  readonly proxyRequestsBlocked: Counter;
}

export function createMetadataMetrics(registry: Registry): MetadataMetrics {
  const registers = [registry];
  const counter = (name: string, help: string): Counter<'handler'> =>
    new Counter({ name: `kiam_metadata_${name}`, help, labelNames: ['handler'], registers });
  return {
    handlerLatency: createHotHistogram({
      name: 'kiam_metadata_handler_latency_seconds',
      help: 'Time to answer a request, by handler.',
      labelNames: ['handler'],
      buckets: SECONDS_BUCKETS,
      registry,
    }),
    credentialFetchErrors: counter(
      'credential_fetch_errors_total',
      'Requests for which no credentials were available.',
    ),
    credentialEncodeErrors: counter('credential_encode_errors_total', 'Credentials that could not be encoded.'),
    findRoleErrors: counter('find_role_errors_total', 'Requests for which the role of the pod could not be found.'),
    emptyRole: counter('empty_role_total', 'Requests from pods that are annotated with no role.'),
    success: createHotCounter({
      name: 'kiam_metadata_success_total',
      help: 'Requests answered with success.',
      labelNames: ['handler'],
      registry,
    }),
    responses: createHotCounter({
      name: 'kiam_metadata_responses_total',
      help: 'Answers by handler and HTTP status.',
      labelNames: ['handler', 'code'],
      registry,
    }),
    proxyRequestsBlocked: new Counter({
      name: 'kiam_metadata_proxy_requests_blocked_total',
      help: 'Requests refused because of --allow-route-regexp.',
      registers,
    }),
  };
}

export interface StsMetrics {
  /** Entries held now. */
  readonly cacheSize: Gauge;
  readonly cacheHits: Counter;
  readonly cacheMisses: Counter;
  readonly issuingErrors: Counter;
  /** In seconds. */
  readonly assumeRoleTiming: Histogram;
  /** Calls in flight now. */
  readonly assumeRoleCurrent: Gauge;
}

export function createStsMetrics(registry: Registry): StsMetrics {
  const registers = [registry];
  return {
    cacheSize: new Gauge({ name: 'kiam_sts_cacheSize', help: 'Sets of credentials in the cache.', registers }),
    cacheHits: new Counter({ name: 'kiam_sts_cache_hit_total', help: 'Credentials found in the cache.', registers }),
    cacheMisses: new Counter({
      name: 'kiam_sts_cache_miss_total',
      help: 'Credentials asked for that were not in the cache.',
      registers,
    }),
    issuingErrors: new Counter({
      name: 'kiam_sts_issuing_errors_total',
      help: 'AssumeRole calls that failed.',
      registers,
    }),
    assumeRoleTiming: new Histogram({
      name: 'kiam_sts_assumerole_timing_seconds',
      help: 'Time that an AssumeRole call took.',
      buckets: SECONDS_BUCKETS,
      registers,
    }),
    assumeRoleCurrent: new Gauge({
      name: 'kiam_sts_assumerole_current',
      help: 'AssumeRole calls that are running now.',
      registers,
    }),
  };
}

export interface KubernetesKiamMetrics {
  readonly droppedPods: Counter;
}

export function createKubernetesKiamMetrics(registry: Registry): KubernetesKiamMetrics {
  return {
    droppedPods: new Counter({
      name: 'kiam_k8s_dropped_pods_total',
      help: 'Pods whose prefetch was dropped because the buffer was full. Stays 0: none is ever dropped.',
      registers: [registry],
    }),
  };
}
