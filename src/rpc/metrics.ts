import type { status } from '@grpc/grpc-js';

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
