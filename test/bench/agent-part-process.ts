// The agent's own HTTP part over credentials in memory, without anything that asks or follows a server.
// Argument: the body that is to be answered. Says `listening <port>`.
import type { Server } from 'node:http';

import { Registry } from 'prom-client';

import { createAgentApp } from '#agent/app.ts';
import { createAgentHttpMetrics } from '#agent/metrics.ts';
import { compileRouteExpression } from '#agent/route-expression.ts';
import type { MetadataCredentials } from '#domain/credentials.ts';
import { failed } from '#domain/failure.ts';
import { systemClock } from '#runtime/clock.ts';
import { createMetadataMetrics } from '#telemetry/kiam-metrics.ts';

import { NO_MEMORY } from '../support/no-memory.ts';

const [body = ''] = process.argv.slice(2);

/** Every address has the same role and the same credentials: what is left of the agent is its HTTP part. */
async function agentOverMemory(): Promise<Server> {
  const expression = compileRouteExpression('^$');
  if (!expression.ok) throw new Error(expression.reason);
  const given = JSON.parse(body) as Record<string, string>;
  const text = (name: string): string => given[name] ?? '';
  const credentials: MetadataCredentials = {
    code: text('Code'),
    type: text('Type'),
    accessKeyId: text('AccessKeyId'),
    secretAccessKey: text('SecretAccessKey'),
    token: text('Token'),
    expiration: text('Expiration'),
    lastUpdated: text('LastUpdated'),
  };
  const ignore = (): void => {};
  const unasked = () => Promise.resolve(failed('internal', 'there is no server here'));
  const registry = new Registry();
  const app = createAgentApp({
    source: {
      ...NO_MEMORY,
      podRole: unasked,
      podCredentials: unasked,
      serverHealth: unasked,
      knownCredentials: () => credentials,
    },
    metadata: { get: () => Promise.reject(new Error('there is no metadata service here')) },
    clock: systemClock,
    logger: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    logsDebug: false,
    metrics: createMetadataMetrics(registry),
    httpMetrics: createAgentHttpMetrics(registry),
    allowedRoutes: expression.expression,
    podLimits: { concurrency: 0, ratePerSecond: 0, burst: 0 },
  });
  await app.ready();
  return app.server;
}

const server = await agentOverMemory();
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(`listening ${typeof address === 'object' ? address?.port : address}`);
});
