import type { status } from '@grpc/grpc-js';

import { type MethodName, SERVICE_NAME } from './contract.ts';
import { codeName } from './status.ts';

interface LabelledCounter<Label extends string> {
  inc(labels: Partial<Record<Label, string | number>>, value?: number): void;
}

type MethodLabel = 'grpc_type' | 'grpc_service' | 'grpc_method';

/** The counters of go-grpc-prometheus, of one side (https://github.com/grpc-ecosystem/go-grpc-prometheus#metrics). */
export interface GrpcCounters {
  readonly started: LabelledCounter<MethodLabel>;
  readonly handled: LabelledCounter<MethodLabel | 'grpc_code'>;
  readonly messagesReceived: LabelledCounter<MethodLabel>;
  readonly messagesSent: LabelledCounter<MethodLabel>;
}

/** What one unary method counts. */
export interface MethodCounts {
  started(): void;
  received(): void;
  sent(): void;
  handled(code: status): void;
}

export function methodCounts(counters: GrpcCounters, method: MethodName): MethodCounts {
  const labels = { grpc_type: 'unary', grpc_service: SERVICE_NAME, grpc_method: method };
  return {
    started: () => counters.started.inc(labels),
    received: () => counters.messagesReceived.inc(labels),
    sent: () => counters.messagesSent.inc(labels),
    handled: (code) => counters.handled.inc({ ...labels, grpc_code: codeName(code) }),
  };
}
