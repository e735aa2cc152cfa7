import { Counter, type Registry } from 'prom-client';

import { createHotCounter, type HotCounter } from '#telemetry/hot-metrics.ts';

/** Why a request was refused before it reached a route. */
export type Refusal = 'path' | 'method' | 'host' | 'rate' | 'concurrency' | 'token' | 'sockets' | 'malformed';

/** What the agent's HTTP part counts beside Kiam's own metrics. */
export interface AgentHttpMetrics {
  readonly refusals: Counter<'reason'>;
  readonly tokensIssued: Counter;
  /** By namespace: see tokenless.ts, which bounds their number. */
  readonly tokenless: HotCounter<'namespace'>;
}

export function createAgentHttpMetrics(registry: Registry): AgentHttpMetrics {
  const registers = [registry];
  return {
    refusals: new Counter({
      name: 'kiam_metadata_refused_requests_total',
      help: 'Requests and connections refused before any route was called.',
      labelNames: ['reason'],
      registers,
    }),
    tokensIssued: new Counter({
      name: 'kiam_metadata_tokens_issued_total',
      help: 'IMDSv2 session tokens issued to pods.',
      registers,
    }),
    tokenless: createHotCounter({
      name: 'kiam_metadata_tokenless_requests_total',
      help: 'Requests of pods without a session token, which --require-imdsv2 refuses.',
      labelNames: ['namespace'],
      registry,
    }),
  };
}
