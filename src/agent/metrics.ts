import { Counter, type Registry } from 'prom-client';

/** Why a request got no further than the door. */
export type Refusal = 'path' | 'method' | 'host' | 'rate' | 'concurrency' | 'token' | 'sockets' | 'malformed';

/** What the agent's HTTP part counts beside Kiam's own metrics. */
export interface AgentHttpMetrics {
  readonly refusals: Counter<'reason'>;
  readonly tokensIssued: Counter;
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
  };
}
