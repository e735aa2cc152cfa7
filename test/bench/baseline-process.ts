// What the agent is compared with: node:http alone, fastify alone, or the agent's own HTTP part over credentials in memory.
// Arguments: the kind, the path, the body. Says `listening <port>`.
import { createServer, type Server } from 'node:http';

import fastify from 'fastify';
import { Registry } from 'prom-client';

import { createAgentApp } from '#agent/app.ts';
import { createAgentHttpMetrics } from '#agent/metrics.ts';
import { compileRouteExpression } from '#agent/route-expression.ts';
import type { MetadataCredentials } from '#domain/credentials.ts';
import { failed } from '#domain/failure.ts';
import { systemClock } from '#runtime/clock.ts';
import { createMetadataMetrics } from '#telemetry/kiam-metrics.ts';

const TYPE = { 'content-type': 'application/json' };

const [kind = '', path = '', body = ''] = process.argv.slice(2);

function bareNode(): Server {
  const headers = { ...TYPE, 'content-length': String(Buffer.byteLength(body)) };
  return createServer((_request, response) => {
    response.writeHead(200, headers);
    response.end(body);
  });
}

async function bareFastify(): Promise<Server> {
  const app = fastify();
  app.get(path, (_request, reply) => {
    void reply.headers(TYPE).send(body);
  });
  await app.ready();
  return app.server;
}

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

const server = kind === 'node' ? bareNode() : await (kind === 'fastify' ? bareFastify() : agentOverMemory());
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(`listening ${typeof address === 'object' ? address?.port : address}`);
});
