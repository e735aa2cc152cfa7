import { connect } from 'node:net';

import type { FastifyInstance, InjectOptions } from 'fastify';
import { Registry } from 'prom-client';

import { type AgentAppOptions, createAgentApp } from '#agent/app.ts';
import { createAgentHttpMetrics } from '#agent/metrics.ts';
import type { CredentialSource, PodRole } from '#agent/ports.ts';
import { compileRouteExpression, type RouteExpression } from '#agent/route-expression.ts';
import type { MetadataCredentials } from '#domain/credentials.ts';
import { failed, type Outcome, succeeded } from '#domain/failure.ts';
import type { MetadataOutcome } from '#metadata/answer.ts';
import type { MetadataQuestion } from '#metadata/client.ts';
import { systemClock } from '#runtime/clock.ts';
import { createMetadataMetrics } from '#telemetry/kiam-metrics.ts';

import { NO_MEMORY } from '../../support/no-memory.ts';
import { type LogLine, recordingLogger } from '../../support/recording-logger.ts';

export const CREDENTIALS: MetadataCredentials = {
  code: 'Success',
  type: 'AWS-HMAC',
  accessKeyId: 'ASIA000000000001',
  secretAccessKey: 'SECRET1',
  token: 'TOKEN1',
  expiration: '2026-11-24T00:25:53Z',
  lastUpdated: '2026-11-24T00:10:53Z',
};

export const CREDENTIALS_TEXT =
  '{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIA000000000001","SecretAccessKey":"SECRET1","Token":"TOKEN1",' +
  '"Expiration":"2026-11-24T00:25:53Z","LastUpdated":"2026-11-24T00:10:53Z"}\n';

/** A role whose ARN is not known. */
export function podRole(role: string, roleArn = ''): PodRole {
  return { role, roleArn };
}

/** A source that gives every address the role `reader` and remembers what it was asked. */
export function fakeSource(overrides: Partial<CredentialSource> = {}): CredentialSource & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    ...NO_MEMORY,
    knowsPods: overrides.knownUid !== undefined,
    asked,
    podRole: ({ address }): Promise<Outcome<PodRole>> => {
      asked.push(`role ${address}`);
      return Promise.resolve(succeeded(podRole('reader')));
    },
    podCredentials: ({ address }, role): Promise<Outcome<MetadataCredentials>> => {
      asked.push(`credentials ${address} ${role}`);
      return Promise.resolve(role === 'reader' ? succeeded(CREDENTIALS) : failed('forbidden', 'forbidden by policy'));
    },
    serverHealth: () => Promise.resolve(succeeded('ok')),
    ...overrides,
  };
}

export interface FakeMetadata {
  readonly asked: { readonly path: string; readonly question: MetadataQuestion }[];
  get(path: string, question: MetadataQuestion): Promise<MetadataOutcome>;
}

/** A metadata client that answers everything with 200 and remembers what it was asked. */
export function fakeMetadata(
  answer: () => MetadataOutcome = () => metadataAnswer(200, 'i-0rig', { 'content-type': 'text/plain' }),
): FakeMetadata {
  const asked: { path: string; question: MetadataQuestion }[] = [];
  return {
    asked,
    get: (path, question) => {
      asked.push({ path, question });
      return Promise.resolve(answer());
    },
  };
}

export function metadataAnswer(status: number, body: string, headers: Record<string, string> = {}): MetadataOutcome {
  return { ok: true, answer: { status, headers, body: Buffer.from(body) } };
}

export function routeExpression(text: string): RouteExpression {
  const compiled = compileRouteExpression(text);
  if (!compiled.ok) throw new Error(compiled.reason);
  return compiled.expression;
}

export interface TestAgent {
  readonly app: FastifyInstance;
  readonly source: ReturnType<typeof fakeSource>;
  readonly metadata: FakeMetadata;
  readonly lines: LogLine[];
  readonly registry: Registry;
}

export interface TestAgentOptions extends Partial<Omit<AgentAppOptions, 'source' | 'metadata' | 'allowedRoutes'>> {
  readonly source?: Partial<CredentialSource>;
  readonly metadata?: FakeMetadata;
  readonly allow?: string;
}

export function testAgent({
  source,
  metadata = fakeMetadata(),
  allow = '^$',
  ...options
}: TestAgentOptions = {}): TestAgent {
  const registry = new Registry();
  const { logger, lines } = recordingLogger();
  const fullSource = fakeSource(source);
  const app = createAgentApp({
    source: fullSource,
    metadata,
    clock: systemClock,
    logger,
    metrics: createMetadataMetrics(registry),
    httpMetrics: createAgentHttpMetrics(registry),
    allowedRoutes: routeExpression(allow),
    podLimits: { concurrency: 0, ratePerSecond: 0, burst: 0 },
    ...options,
  });
  const inject = app.inject.bind(app);
  Object.assign(app, { inject: (request: InjectOptions) => inject({ authority: '169.254.169.254', ...request }) });
  return { app, source: fullSource, metadata, lines, registry };
}

/** Listens on a free port of the loopback address and gives the port. */
export async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 });
  const address = app.server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return address.port;
}

/** Writes bytes to the agent from a loopback address and resolves with all that comes back until the connection ends. */
export function raw(port: number, bytes: string | Buffer, localAddress = '127.0.0.1'): Promise<string> {
  return new Promise((resolve) => {
    let received = '';
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    socket.setEncoding('latin1');
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', (text: string) => {
      received += text;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(received));
  });
}

/** One GET with the target exactly as given. */
export function rawGet(port: number, target: string, localAddress?: string): Promise<string> {
  return raw(
    port,
    Buffer.from(`GET ${target} HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n`, 'latin1'),
    localAddress,
  );
}

export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);
}

export function bodyOf(answer: string): string {
  return answer.slice(answer.indexOf('\r\n\r\n') + 4);
}
