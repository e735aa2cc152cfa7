import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';

import type { MetadataClient } from '#metadata/client.ts';
import type { Clock } from '#runtime/clock.ts';
import type { CounterSeries, HistogramSeries } from '#telemetry/hot-metrics.ts';
import type { MetadataHandler, MetadataMetrics } from '#telemetry/kiam-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type AccessLog, createAccessLog } from './access-log.ts';
import { type Answer, errorAnswer, type Exchange } from './answer.ts';
import { type ClientOf, createClients } from './client.ts';
import { createDispatch } from './dispatch.ts';
import { createLimits, DEFAULT_POD_LIMITS, type PodLimits, type Usage } from './limits.ts';
import type { AgentHttpMetrics, Refusal } from './metrics.ts';
import type { Client, CredentialSource, Evidence } from './ports.ts';
import type { RouteName } from './route.ts';
import type { RouteExpression } from './route-expression.ts';
import { createServerOptions, DEFAULT_TIMEOUTS, type HttpTimeouts, limitIdleOnce } from './server-options.ts';
import { DEFAULT_SOCKET_LIMITS, limitSockets, type SocketLimits } from './sockets.ts';
import { createTargets } from './targets.ts';

export interface AgentAppOptions {
  readonly source: CredentialSource;
  readonly metadata: Pick<MetadataClient, 'get'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetadataMetrics;
  readonly httpMetrics: AgentHttpMetrics;
  /** `--allow-route-regexp`, see {@link import('./route-expression.ts').compileRouteExpression}. */
  readonly allowedRoutes: RouteExpression;
  /** `--wait`: how long a pod that is not known yet is waited for, in milliseconds. */
  readonly waitMs?: number;
  /** `--require-imdsv2` */
  readonly requireImdsv2?: boolean;
  /** `--allow-ip-query` */
  readonly allowIpQuery?: boolean;
  /** Whether the logger writes debug lines; without them a request that goes well costs no log line's making. */
  readonly logsDebug?: boolean;
  /** What the kernel shows of an address: without it nothing is known of its owner. */
  readonly readEvidence?: (address: string) => Evidence;
  readonly podLimits?: PodLimits;
  readonly socketLimits?: SocketLimits;
  readonly timeouts?: HttpTimeouts;
}

const WAIT_MS = 900;

const NO_EVIDENCE: Evidence = { kind: 'none', reason: 'the kernel is not asked' };

/** Stands for a client that has gone before its request was looked at. */
const NOBODY: Client = { address: '', evidence: NO_EVIDENCE, acceptedMs: 0 };

/** Kiam's labels for the routes that it had. What is refused before the proxy asks anyone was its proxy's business too. */
const HANDLERS: Readonly<Record<RouteName, MetadataHandler | undefined>> = {
  'role-name': 'roleName',
  credentials: 'credentials',
  health: 'health',
  proxy: 'proxy',
  denied: 'proxy',
  token: undefined,
  'iam-info': undefined,
  ping: undefined,
};

/** The kubelet asks these, from an address that it shares with every pod of the host network. They cost nothing. */
function isLimited(route: RouteName): boolean {
  return route !== 'ping' && route !== 'health';
}

/**
 * The agent's HTTP server, ready to listen or to be injected into. It has one route and no hooks: a warm request costs
 * little more than fastify itself. The caller listens, on one address, and closes.
 */
export function createAgentApp(options: AgentAppOptions): FastifyInstance {
  const { clock, logger, httpMetrics, allowedRoutes, waitMs = WAIT_MS, requireImdsv2 = false } = options;
  const limits = createLimits(options.podLimits ?? DEFAULT_POD_LIMITS);
  const accessLog = createAccessLog({ logger, debug: options.logsDebug ?? true });
  const dispatch = createDispatch({ ...options, waitMs, requireImdsv2 });
  const finish = createFinish(options, accessLog);
  const understand = createTargets();
  const answering = new WeakSet<Socket>();

  const refuse = (pending: Pending, reason: Refusal, status: number, message: string): void => {
    httpMetrics.refusals.inc({ reason });
    finish(pending, errorAnswer(status, message));
  };

  const answerLater = (pending: Pending, usage: Usage | undefined, later: Promise<Answer>): void => {
    const { socket } = pending.exchange.request;
    if (usage !== undefined) usage.waiting += 1;
    answering.add(socket);
    const settle = (answer: Answer): void => {
      if (usage !== undefined) usage.waiting -= 1;
      answering.delete(socket);
      finish(pending, answer);
    };
    later.then(settle, (error: unknown) => settle(defect(error)));
  };

  const defect = (error: unknown): Answer => {
    logger.error('answering a request failed', { error: error instanceof Error ? error : String(error) });
    return errorAnswer(500, 'internal error');
  };

  const serve = (request: FastifyRequest, reply: FastifyReply): void => {
    const startedMs = clock.monotonic();
    const target = understand(request.originalUrl);
    const client = clientOf(request.raw.socket, target.ok ? target.query : '');
    const exchange: Exchange = {
      client: client ?? NOBODY,
      path: target.ok ? target.path : request.originalUrl,
      query: target.ok ? target.query : '',
      plain: target.ok && target.plain,
      request: request.raw,
      response: reply.raw,
    };
    if (client === undefined || !target.ok) {
      const reason = target.ok ? 'the client has no address' : target.reason;
      refuse({ exchange, reply, startedMs, handler: undefined }, 'path', 400, reason);
      return;
    }
    const { route } = target;
    const pending: Pending = { exchange, reply, startedMs, handler: HANDLERS[route.name] };
    const usage = isLimited(route.name) ? limits.admit(client.address, startedMs) : undefined;
    if (typeof usage === 'string') {
      refuse(pending, usage, 429, `too many requests: the pod's limit on ${usage} is reached`);
      return;
    }
    const answer = dispatch(exchange, route);
    if (answer instanceof Promise) answerLater(pending, usage, answer);
    else finish(pending, answer);
  };

  const app = fastify(
    createServerOptions({
      timeouts: options.timeouts ?? DEFAULT_TIMEOUTS,
      onMalformed: () => httpMetrics.refusals.inc({ reason: 'malformed' }),
      isAnswering: (socket) => answering.has(socket),
    }),
  );
  // No body is ever read: to fastify no method has one, and the connection of a request with a body is closed.
  for (const method of app.supportedMethods) app.addHttpMethod(method, { hasBody: false, overrideExisting: true });
  app.route({ method: app.supportedMethods, url: '/', handler: serve });
  app.setNotFoundHandler(serve);
  app.setErrorHandler((error, _request, reply) => send(reply, defect(error)));
  const clientOf: ClientOf = createClients(app.server, {
    clock,
    allowIpQuery: options.allowIpQuery ?? false,
    readEvidence: options.readEvidence ?? (() => NO_EVIDENCE),
  });
  limitIdleOnce(app.server);
  limitSockets(app.server, options.socketLimits ?? DEFAULT_SOCKET_LIMITS, () => {
    httpMetrics.refusals.inc({ reason: 'sockets' });
  });
  if (allowedRoutes.matches('/latest/user-data')) {
    logger.warn('allow-route-regexp lets pods read the user data of the node', { expression: allowedRoutes.text });
  }
  return app;
}

interface Pending {
  readonly exchange: Exchange;
  readonly reply: FastifyReply;
  readonly startedMs: number;
  readonly handler: MetadataHandler | undefined;
}

/** Counts, logs and sends an answer. */
function createFinish(
  { clock, metrics }: AgentAppOptions,
  accessLog: AccessLog,
): (pending: Pending, answer: Answer) => void {
  const countsOf = createHandlerCounts(metrics);
  return ({ exchange, reply, startedMs, handler }, answer) => {
    const nowMs = clock.monotonic();
    if (handler !== undefined) {
      const counts = countsOf(handler);
      counts.latency.observe((nowMs - startedMs) / 1000);
      counts.responses(answer.status).inc();
      if (answer.status === 200) counts.success().inc();
    }
    accessLog(exchange, answer, nowMs, nowMs - startedMs);
    send(reply, answer);
  };
}

interface HandlerCounts {
  readonly latency: HistogramSeries;
  responses(status: number): CounterSeries;
  success(): CounterSeries;
}

/** Finds each series of a handler once: see hot-metrics.ts. */
function createHandlerCounts(metrics: MetadataMetrics): (handler: MetadataHandler) => HandlerCounts {
  const known = new Map<MetadataHandler, HandlerCounts>();
  return (handler) => {
    let counts = known.get(handler);
    if (counts === undefined) {
      const byStatus = new Map<number, CounterSeries>();
      let success: CounterSeries | undefined;
      counts = {
        latency: metrics.handlerLatency.series({ handler }),
        responses: (status) => {
          let series = byStatus.get(status);
          if (series === undefined) {
            series = metrics.responses.series({ handler, code: String(status) });
            byStatus.set(status, series);
          }
          return series;
        },
        success: () => (success ??= metrics.success.series({ handler })),
      };
      known.set(handler, counts);
    }
    return counts;
  };
}

/** Written by node:http itself: the headers are ready, and fastify would add a charset to JSON, which EC2 does not send. */
function send(reply: FastifyReply, { status, headers, body }: Answer): void {
  reply.hijack();
  const response = reply.raw;
  if (leavesBytes(reply.request.raw)) response.shouldKeepAlive = false;
  response.writeHead(status, headers);
  response.end(body);
}

/** Whether more may follow on the connection that is no request: a body, which nobody reads, or another protocol. */
function leavesBytes({ headers }: IncomingMessage): boolean {
  const length = headers['content-length'];
  if (length !== undefined && length !== '0') return true;
  return headers['transfer-encoding'] !== undefined || headers['upgrade'] !== undefined;
}
