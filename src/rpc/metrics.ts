import type { status } from '@grpc/grpc-js';
import { Counter, Gauge, type Registry } from 'prom-client';

import { type GrpcCallType, type GrpcMetrics, grpcCodeName } from '#telemetry/grpc-metrics.ts';

import { type MethodName, SERVICE_NAME } from './contract.ts';

/** What one method counts. */
export interface MethodCounts {
  started(): void;
  received(): void;
  sent(): void;
  handled(code: status): void;
}

export function methodCounts(
  counters: GrpcMetrics,
  method: MethodName | 'WatchNode',
  type: GrpcCallType = 'unary',
): MethodCounts {
  const labels = { grpc_type: type, grpc_service: SERVICE_NAME, grpc_method: method };
  return {
    started: () => counters.started.inc(labels),
    received: () => counters.messagesReceived.inc(labels),
    sent: () => counters.messagesSent.inc(labels),
    handled: (code) => counters.handled.inc({ ...labels, grpc_code: grpcCodeName(code) }),
  };
}

export interface HandshakeMetrics {
  readonly done: { inc(): void };
  /** Not finished: the client had no certificate of the authority, took too long or went away. */
  readonly failed: { inc(): void };
  /** Closed before or in its handshake because there were too many. */
  readonly refused: { inc(): void };
  /** Says where to read how many connections wait. */
  followWaiting(read: () => number): void;
}

/** What a server counts of the connections that come to it. */
export function createHandshakeMetrics(registry: Registry): HandshakeMetrics {
  const registers = [registry];
  const ended = new Counter({
    name: 'kiam_server_handshakes_total',
    help: 'Connections by the result of their TLS handshake: done, failed, refused.',
    labelNames: ['outcome'],
    registers,
  });
  for (const outcome of ['done', 'failed', 'refused']) ended.inc({ outcome }, 0);
  let readWaiting = (): number => 0;
  const waiting: Gauge = new Gauge({
    name: 'kiam_server_handshakes_waiting',
    help: 'Connections that wait for their TLS handshake to begin.',
    registers,
    collect: (): void => waiting.set(readWaiting()),
  });
  return {
    done: ended.labels({ outcome: 'done' }),
    failed: ended.labels({ outcome: 'failed' }),
    refused: ended.labels({ outcome: 'refused' }),
    followWaiting: (read) => {
      readWaiting = read;
    },
  };
}
