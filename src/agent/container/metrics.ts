import { Counter, type Registry } from 'prom-client';

import { createHotCounter, type HotCounter } from '#telemetry/hot-metrics.ts';

import type { TokenRefusal } from './token-verifier.ts';

export interface ContainerMetrics {
  readonly responses: HotCounter<'code'>;
  countRefusal(reason: TokenRefusal): void;
}

export function createContainerMetrics(registry: Registry): ContainerMetrics {
  const refusals = new Counter({
    name: 'kiam_container_credentials_refused_tokens_total',
    help: 'Tokens that were refused at the endpoint of container credentials, by what is wrong with them.',
    labelNames: ['reason'],
    registers: [registry],
  });
  return {
    responses: createHotCounter({
      name: 'kiam_container_credentials_responses_total',
      help: 'Answers of the endpoint of container credentials by status.',
      labelNames: ['code'],
      registry,
    }),
    countRefusal: (reason) => refusals.inc({ reason }),
  };
}
