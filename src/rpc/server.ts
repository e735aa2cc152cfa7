import { type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall, status } from '@grpc/grpc-js';

import type { Failure, Outcome } from '#domain/failure.ts';
import type { Clock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import { createPlaces } from '#runtime/places.ts';
import type { GrpcMetrics } from '#telemetry/grpc-metrics.ts';
import type { ListenAddress } from '#telemetry/listen-address.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { CertificateWatcher } from './certificate-watcher.ts';
import type { Contract, MethodName, Methods } from './contract.ts';
import { type HandshakeMetrics, methodCounts } from './metrics.ts';
import {
  certificateOf,
  type NodeCall,
  openStream,
  type StreamOutcome,
  tokenOf,
  type WatchNodeHandler,
} from './agent-stream.ts';
import { statusOf, type WireStatus } from './status.ts';
import { TlsListener } from './tls-listener.ts';

/** What a handler knows of its call. */
export interface CallContext {
  /** Aborts when the caller has gone. */
  readonly signal: AbortSignal;
  /** How much longer the caller waits, in milliseconds; Infinity when it set no deadline. */
  readonly remainingMs: number;
  /** The caller's address and port, as the socket tells them. */
  readonly peer: string;
  /** The service account token that came with the call; `''` for none. */
  readonly token: string;
  /** The fingerprint of the certificate that the connection was opened with; `''` when it is not known. */
  readonly certificate: () => string;
}

/** The service as this program answers it. A handler returns what it expects to go wrong; a throw is a defect. */
export type ServiceHandlers = {
  readonly [M in MethodName]: (
    request: Methods[M]['request'],
    context: CallContext,
  ) => Promise<Outcome<Methods[M]['response']>>;
};

export interface KiamServerOptions {
  readonly contract: Contract;
  readonly handlers: ServiceHandlers;
  readonly watchNode: WatchNodeHandler;
  readonly certificates: Pick<CertificateWatcher, 'subscribe' | 'current'>;
  readonly clock: Clock;
  readonly counters: GrpcMetrics;
  readonly handshakes: HandshakeMetrics;
  /** Told of each TLS handshake that fails, with the address that it came from in canonical form. */
  readonly onHandshake: (address: string, isDone: boolean) => void;
  readonly logger: Logger;
  readonly keepalive: { readonly timeMs: number; readonly timeoutMs: number };
  readonly maxConnectionIdleMs: number;
  readonly maxConnectionAgeMs: number;
  readonly maxConnectionAgeGraceMs: number;
}

const DEFECT: Failure = { kind: 'internal', message: 'internal error' };

const UNPROVEN = { code: status.UNIMPLEMENTED, details: 'the node of the agent is not proven' };
const REPLACED = { code: status.RESOURCE_EXHAUSTED, details: 'a newer stream has taken the place of this one' };
const UNKNOWN = { code: status.UNAVAILABLE, details: 'it is not certain who the agent is' };

/** An agent opens one stream on a connection. */
const MOST_STREAMS_OF_CONNECTION = 2;

/** Calls and streams of one connection at a time. An agent with more to ask than this waits for the first answers. */
const MOST_CALLS_OF_CONNECTION = 1000;

/** A request holds an address and a role: a larger message is no request of this contract. */
const LARGEST_REQUEST_BYTES = 64 * 1024;

/** The gRPC server of the contract: mutual TLS, a client certificate of the same authority required. */
export class KiamServer {
  readonly #server: Server;
  readonly #listener: TlsListener;
  readonly #options: KiamServerOptions;

  constructor(options: KiamServerOptions) {
    this.#options = options;
    this.#server = new Server({
      'grpc.max_receive_message_length': LARGEST_REQUEST_BYTES,
      'grpc.max_concurrent_streams': MOST_CALLS_OF_CONNECTION,
      'grpc.keepalive_time_ms': options.keepalive.timeMs,
      'grpc.keepalive_timeout_ms': options.keepalive.timeoutMs,
      'grpc.max_connection_idle_ms': options.maxConnectionIdleMs,
      'grpc.max_connection_age_ms': options.maxConnectionAgeMs,
      'grpc.max_connection_age_grace_ms': options.maxConnectionAgeGraceMs,
    });
    const { contract } = options;
    this.#server.addService(contract, {
      GetPodRole: this.#unary('GetPodRole'),
      GetPodCredentials: this.#unary('GetPodCredentials'),
      GetHealth: this.#unary('GetHealth'),
      WatchNode: this.#watchNode(),
      ReportNode: this.#unary('ReportNode'),
    });
    // TLS is the listener's: it hands over connections that can be used like plain ones.
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#listener = new TlsListener({
      certificates: options.certificates,
      clock: options.clock,
      metrics: options.handshakes,
      onHandshake: options.onHandshake,
      onConnection: (socket) => injector.injectConnection(socket),
    });
  }

  /** Listens and resolves to the port. Rejects when the address cannot be bound. */
  listen(address: ListenAddress): Promise<number> {
    return this.#listener.listen(address);
  }

  /** Stops accepting and resolves when what is in progress has been answered. */
  drain(): Promise<void> {
    const closed = this.#listener.close();
    // Its callback does not wait for connections that were handed over: those close after their last call.
    this.#server.tryShutdown(() => {});
    return closed;
  }

  /** Cuts every connection now. */
  stop(): void {
    void this.#listener.close();
    this.#server.forceShutdown();
  }

  #unary<M extends MethodName>(method: M) {
    const { counters, handlers, logger } = this.#options;
    const counts = methodCounts(counters, method);
    return (
      call: ServerUnaryCall<Methods[M]['request'], Methods[M]['response']>,
      reply: sendUnaryData<Methods[M]['response']>,
    ): void => {
      counts.started();
      counts.received();
      const controller = new AbortController();
      let isAnswered = false;
      // grpc-js says so of every call that has ended, however it ended.
      call.on('cancelled', () => {
        if (!isAnswered) controller.abort();
      });
      const context = {
        signal: controller.signal,
        remainingMs: remainingMs(call.getDeadline()),
        peer: call.getPeer(),
        token: tokenOf(call.metadata),
        certificate: () => certificateOf(call),
      };
      const refuse = (failure: Failure): void => {
        const answer = statusOf(failure);
        counts.handled(answer.code);
        reply(answer);
      };
      handlers[method](call.request, context).then(
        (outcome) => {
          isAnswered = true;
          if (!outcome.ok) {
            refuse(outcome.failure);
            return;
          }
          counts.sent();
          counts.handled(status.OK);
          reply(null, outcome.value);
        },
        (error: unknown) => {
          logger.error('a request failed unexpectedly', { 'grpc.method': method, error: describeError(error) });
          refuse(DEFECT);
        },
      );
    };
  }

  #watchNode() {
    const { counters, logger, watchNode } = this.#options;
    const counts = methodCounts(counters, 'WatchNode', 'server_stream');
    const takePlace = createPlaces(MOST_STREAMS_OF_CONNECTION);
    return (call: NodeCall): void => {
      counts.started();
      counts.received();
      const fail = (answer: Pick<WireStatus, 'code' | 'details'>): void => {
        counts.handled(answer.code);
        call.emit('error', answer);
      };
      const stream = openStream(call, () => counts.sent());
      const leave = takePlace(stream.peer, () => stream.giveWay());
      const end = (outcome: StreamOutcome): void => {
        leave();
        if (stream.hasGivenWay()) return fail(REPLACED);
        if (outcome !== 'ended') return fail(outcome === 'unproven' ? UNPROVEN : UNKNOWN);
        counts.handled(status.OK);
        call.end();
        return undefined;
      };
      watchNode(call.request, stream).then(end, (error: unknown) => {
        leave();
        logger.error('a stream failed unexpectedly', { 'grpc.method': 'WatchNode', error: describeError(error) });
        fail(statusOf(DEFECT));
      });
    };
  }
}

function remainingMs(deadline: Date | number): number {
  return Number(deadline) - Date.now();
}
