import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';

import { canonicalAddress } from '#domain/address.ts';
import type { Clock } from '#runtime/clock.ts';
import { type ConnectionLimits, limitConnections } from '#runtime/connection-limits.ts';
import { describeError } from '#runtime/errors.ts';
import { createRequestGate } from '#runtime/request-gate.ts';
import type { MetadataHandler, MetadataMetrics } from '#telemetry/kiam-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import { createAccessLog } from './access-log.ts';
import { type Answer, errorAnswer, type Exchange } from './answer.ts';
import { type ClientOf, createClients } from './client.ts';
import { type Dialect, KIAM_DIALECT } from './dialect.ts';
import type { Refused } from './door.ts';
import { createFinish, leavesBytes, type Pending, send } from './finish.ts';
import type { Usage } from './limits.ts';
import type { AgentHttpMetrics } from './metrics.ts';
import type { Client, CredentialSource, Evidence } from './ports.ts';
import type { RouteName } from './route.ts';
import { createServerOptions, DEFAULT_TIMEOUTS, type HttpTimeouts, limitIdleOnce } from './server-options.ts';
import { createTargets, type Target } from './targets.ts';

export interface PodServerOptions {
  readonly source: Pick<CredentialSource, 'knownUid'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetadataMetrics;
  readonly httpMetrics: AgentHttpMetrics;
  /** `--allow-ip-query` */
  readonly allowIpQuery?: boolean;
  /** Whether the logger writes debug lines; without them a request that goes well builds no log line. */
  readonly logsDebug?: boolean;
  /** What the kernel shows about an address: without it nothing is known about its owner. */
  readonly readEvidence?: (address: string) => Evidence;
  readonly timeouts?: HttpTimeouts;
  /** Kiam's unless given. */
  readonly dialect?: Dialect;
  /** Told of each answer to a request that was understood; `durationMs` is how long it took. */
  readonly onAnswer?: (exchange: Exchange, route: RouteName, answer: Answer, durationMs: number) => void;
}

/** What is served to pods on one port. */
export interface PodService {
  readonly socketLimits: ConnectionLimits;
  /** Kiam's label for what a request asks for; undefined for what is not counted under one. */
  handlerOf(target: Target): MetadataHandler | undefined;
  /** Refuses a request, or begins to answer it. */
  serve(exchange: Exchange, target: Target, nowMs: number): Refused | BegunAnswer;
}

/** `usage` is undefined for what is within a share of its own. */
export interface BegunAnswer {
  readonly kind: 'served';
  readonly usage: Usage | undefined;
  readonly answer: Answer | Promise<Answer>;
}

const NO_EVIDENCE: Evidence = { kind: 'none', reason: 'the kernel is not asked' };

/** Stands for a client that has gone before its request was looked at. */
const NOBODY: Client = { address: '', evidence: NO_EVIDENCE, acceptedMs: 0 };

/**
 * An HTTP server for pods, ready to listen or to be injected into. It has one route and no hooks: a warm request costs
 * little more than fastify itself. The caller listens, on one address, and closes.
 */
export function createPodServer(options: PodServerOptions, service: PodService): FastifyInstance {
  const { clock, logger, httpMetrics, metrics, onAnswer, dialect = KIAM_DIALECT } = options;
  const accessLog = createAccessLog({ logger, debug: options.logsDebug ?? true, fieldsOf: dialect.logFields });
  const finish = createFinish({ clock, metrics, onAnswer }, accessLog);
  const understand = createTargets(dialect.routeOf);
  const answering = new WeakSet<Socket>();

  /** What follows on the connection is not looked at, and it is closed once the answer is sent. */
  const closeAfter = (socket: Socket, response: ServerResponse): void => {
    response.shouldKeepAlive = false;
    gate.ignoreRest(socket);
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
    logger.error('answering a request failed', { error: describeError(error) });
    return errorAnswer(500, 'internal error');
  };

  const serve = (request: FastifyRequest, reply: FastifyReply): void => {
    if (reply.raw.socket === null) {
      gate.postpone(request.raw, reply.raw, () => serve(request, reply));
      return;
    }
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
    const pending: Pending = {
      exchange,
      reply,
      startedMs,
      handler: service.handlerOf(target),
      route: target.ok ? target.route.name : undefined,
    };
    const served = service.serve(exchange, target, startedMs);
    if (served.kind === 'refused') {
      httpMetrics.refusals.inc({ reason: served.reason });
      if (served.closes) closeAfter(request.raw.socket, reply.raw);
      finish(pending, errorAnswer(served.status, served.message));
      return;
    }
    if (leavesBytes(request.raw)) closeAfter(request.raw.socket, reply.raw);
    const { answer, usage } = served;
    if (answer instanceof Promise) answerLater(pending, usage, answer);
    else finish(pending, answer);
  };

  const app = fastify(
    createServerOptions({
      timeouts: options.timeouts ?? DEFAULT_TIMEOUTS,
      isStopped: (error, socket) => gate.hasStopped(error, socket),
      onMalformed: () => httpMetrics.refusals.inc({ reason: 'malformed' }),
      isAnswering: (socket) => answering.has(socket),
    }),
  );
  // No body is ever read: to fastify no method has one, and the connection of a request with a body is closed.
  for (const method of app.supportedMethods) app.addHttpMethod(method, { hasBody: false, overrideExisting: true });
  app.route({ method: app.supportedMethods, url: '/', handler: serve });
  app.setNotFoundHandler(serve);
  app.setErrorHandler((error, _request, reply) => send(reply, defect(error)));
  limitConnections(app.server, {
    limits: service.socketLimits,
    clock,
    addressOf: ({ remoteAddress }) => canonicalAddress(remoteAddress ?? ''),
    isNeighbour: (address, socket) => isPodOfThisNode(options.source, address, clientOf(socket, '')),
    isAnswering: (socket) => answering.has(socket),
    onRefused: () => httpMetrics.refusals.inc({ reason: 'sockets' }),
  });
  const clientOf: ClientOf = createClients(app.server, {
    clock,
    allowIpQuery: options.allowIpQuery ?? false,
    readEvidence: options.readEvidence ?? (() => NO_EVIDENCE),
  });
  const gate = createRequestGate(app.server);
  limitIdleOnce(app.server);
  return app;
}

/** As the server has told, or as the kernel shows: a pod that just began is behind an interface of this node already. */
function isPodOfThisNode(source: PodServerOptions['source'], address: string, client: Client | undefined): boolean {
  if (source.knownUid(address) !== undefined) return true;
  if (client === undefined) return false;
  return client.evidence.kind === 'interface' || client.evidence.behind !== undefined;
}
