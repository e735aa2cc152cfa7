import { LRUCache } from 'lru-cache';

import type { requestFields } from '#telemetry/fields.ts';
import type { Fields, Logger } from '#telemetry/logger.ts';

import type { Answer, Exchange } from './answer.ts';
import { createLimits } from './limits.ts';

export interface AccessLogOptions {
  readonly logger: Logger;
  /** Whether debug lines are written at all: without them a request that goes well costs nothing here. */
  readonly debug: boolean;
  readonly fieldsOf: (facts: Parameters<typeof requestFields>[0]) => Fields;
}

export type AccessLog = (exchange: Exchange, answer: Answer, nowMs: number, durationMs: number) => void;

/** Lines a second above debug level that one address may cause; the rest is counted and logged as a number. */
const LINES_PER_SECOND = 5;
const LINES_BURST = 20;
const MOST_ADDRESSES = 4096;

/**
 * Kiam's line for every request, at debug level where nothing is wrong and else at info; before it, for a request that failed,
 * Kiam's line at error level (Kiam, `pkg/aws/metadata/handlers.go`).
 */
export function createAccessLog({ logger, debug, ...options }: AccessLogOptions): AccessLog {
  const fieldsOf = (exchange: Exchange, answer: Answer, durationMs: number): Fields =>
    options.fieldsOf(factsOf(exchange, answer, durationMs));
  const allowance = createLimits({ concurrency: 0, ratePerSecond: LINES_PER_SECOND, burst: LINES_BURST });
  const unwritten = new LRUCache<string, number>({ max: MOST_ADDRESSES });
  return (exchange, answer, nowMs, durationMs) => {
    const isNews = answer.status >= 400 && answer.expected !== true;
    if (!isNews) {
      if (debug) logger.debug('processed request', fieldsOf(exchange, answer, durationMs));
      return;
    }
    if (typeof allowance.admit(exchange.client.address, nowMs) === 'string') {
      unwritten.set(exchange.client.address, (unwritten.get(exchange.client.address) ?? 0) + 1);
      return;
    }
    const suppressed = unwritten.get(exchange.client.address);
    unwritten.delete(exchange.client.address);
    const { duration, ...fields } = fieldsOf(exchange, answer, durationMs);
    const error = errorOf(answer);
    if (error !== undefined) logger.error(`error processing request: ${error}`, fields);
    logger.info('processed request', { ...fields, duration, suppressed });
  };
}

function factsOf(exchange: Exchange, answer: Answer, durationMs: number): Parameters<typeof requestFields>[0] {
  return {
    address: `${exchange.client.address}:${exchange.request.socket.remotePort ?? 0}`,
    method: exchange.request.method ?? '',
    path: exchange.path,
    status: answer.status,
    durationMs,
  };
}

/**
 * The text of the agent's own error answers, which hold no secret, without the line feed; undefined for answers of the real
 * service.
 */
function errorOf({ body }: Answer): string | undefined {
  return typeof body === 'string' ? body.trimEnd() : undefined;
}
