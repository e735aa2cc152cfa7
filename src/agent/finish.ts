import type { IncomingMessage } from 'node:http';

import type { FastifyReply } from 'fastify';

import type { Clock } from '#runtime/clock.ts';
import type { CounterSeries, HistogramSeries } from '#telemetry/hot-metrics.ts';
import type { MetadataHandler, MetadataMetrics } from '#telemetry/kiam-metrics.ts';

import type { AccessLog } from './access-log.ts';
import type { Answer, Exchange } from './answer.ts';
import type { RouteName } from './route.ts';

/** A request whose answer is in progress. */
export interface Pending {
  readonly exchange: Exchange;
  readonly reply: FastifyReply;
  readonly startedMs: number;
  readonly handler: MetadataHandler | undefined;
  readonly route: RouteName | undefined;
}

export interface FinishOptions {
  readonly clock: Clock;
  readonly metrics: MetadataMetrics;
  readonly onAnswer?: ((exchange: Exchange, route: RouteName, answer: Answer, durationMs: number) => void) | undefined;
}

/** Counts, logs and sends an answer. */
export function createFinish(
  { clock, metrics, onAnswer }: FinishOptions,
  accessLog: AccessLog,
): (pending: Pending, answer: Answer) => void {
  const countsOf = createHandlerCounts(metrics);
  return ({ exchange, reply, startedMs, handler, route }, answer) => {
    const nowMs = clock.monotonic();
    if (handler !== undefined) {
      const counts = countsOf(handler);
      counts.latency.observe((nowMs - startedMs) / 1000);
      counts.responses(answer.status).inc();
      if (answer.status === 200) counts.success().inc();
    }
    if (onAnswer !== undefined && route !== undefined) onAnswer(exchange, route, answer, nowMs - startedMs);
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
export function send(reply: FastifyReply, { status, headers, body }: Answer): void {
  reply.hijack();
  const response = reply.raw;
  response.writeHead(status, headers);
  response.end(body);
}

/** Whether something other than a request may follow on the connection: a body, which is never read, or another protocol. */
export function leavesBytes({ headers }: IncomingMessage): boolean {
  const length = headers['content-length'];
  if (length !== undefined && length !== '0') return true;
  return headers['transfer-encoding'] !== undefined || headers['upgrade'] !== undefined;
}
