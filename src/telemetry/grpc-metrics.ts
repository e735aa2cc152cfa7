import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';

export type GrpcSide = 'client' | 'server';
export type GrpcLabel = 'grpc_type' | 'grpc_service' | 'grpc_method';

/** The values of the label `grpc_type`, as go-grpc-prometheus has them. */
export type GrpcCallType = 'unary' | 'client_stream' | 'server_stream' | 'bidi_stream';

/** https://github.com/grpc-ecosystem/go-grpc-prometheus: the names and labels of its counters, on either side. */
export interface GrpcMetrics {
  readonly started: Counter<GrpcLabel>;
  readonly handled: Counter<GrpcLabel | 'grpc_code'>;
  readonly messagesReceived: Counter<GrpcLabel>;
  readonly messagesSent: Counter<GrpcLabel>;
}

export function createGrpcMetrics(registry: Registry, side: GrpcSide): GrpcMetrics {
  const registers = [registry];
  const labelNames: GrpcLabel[] = ['grpc_type', 'grpc_service', 'grpc_method'];
  const counter = (name: string, help: string): Counter<GrpcLabel> =>
    new Counter({ name: `grpc_${side}_${name}`, help, labelNames, registers });
  return {
    started: counter('started_total', `RPCs started on the ${side}.`),
    handled: new Counter({
      name: `grpc_${side}_handled_total`,
      help: `RPCs completed on the ${side}, by status code.`,
      labelNames: [...labelNames, 'grpc_code'],
      registers,
    }),
    messagesReceived: counter('msg_received_total', `RPC messages received on the ${side}.`),
    messagesSent: counter('msg_sent_total', `RPC messages sent on the ${side}.`),
  };
}

/**
 * The names of the status codes by number, as Go prints them in the label `grpc_code`:
 * https://pkg.go.dev/google.golang.org/grpc/codes
 */
const CODE_NAMES = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
];

/** The value of `grpc_code` for a status code; what is no known code is `Unknown`, so that a peer cannot invent labels. */
export function grpcCodeName(code: number): string {
  return CODE_NAMES[code] ?? 'Unknown';
}

export interface TlsMetrics {
  /** 1 while the newest certificate files could not be read, else 0. */
  readonly updateError: Gauge;
  /** 1 while the newest certificate files do not verify, else 0. */
  readonly verifyError: Gauge;
  /** The earliest expiry in the chain, in Unix seconds. */
  readonly expirySeconds: Gauge;
}

export function createTlsMetrics(registry: Registry, side: GrpcSide): TlsMetrics {
  const gauge = (name: string, help: string): Gauge =>
    new Gauge({ name: `grpc_${side}_tls_certificate_${name}`, help, registers: [registry] });
  return {
    updateError: gauge('update_error', '1 when the TLS certificate could not be updated, else 0.'),
    verifyError: gauge('verify_error', '1 when the TLS certificate could not be verified, else 0.'),
    expirySeconds: gauge(
      'expiry_seconds',
      'When the first certificate of the chain expires, the authority included, in Unix seconds.',
    ),
  };
}
