import {
  experimental,
  type Metadata,
  type sendUnaryData,
  Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
} from '@grpc/grpc-js';

import type { Failure, Outcome } from '#domain/failure.ts';
import { describeError } from '#telemetry/log-values.ts';
import type { GrpcMetrics } from '#telemetry/grpc-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { CertificateSnapshot } from './certificates.ts';
import type { CertificateWatcher } from './certificate-watcher.ts';
import type { Contract, MethodName, Methods, NodeUpdate, WatchNodeRequest } from './contract.ts';
import { methodCounts } from './metrics.ts';
import { statusOf, type WireStatus } from './status.ts';

/** What a handler knows of its call. */
export interface CallContext {
  /** Aborts when the caller has gone. */
  readonly signal: AbortSignal;
  /** How long the caller waits yet, in milliseconds; Infinity when it did not say. */
  readonly remainingMs: number;
  /** The caller's address and port, as the socket tells them. */
  readonly peer: string;
  /** The service account token that came with the call; `''` for none. */
  readonly token: string;
}

/** The service as this program answers it. A handler returns what it expects to go wrong; a throw is a defect. */
export type ServiceHandlers = {
  readonly [M in MethodName]: (
    request: Methods[M]['request'],
    context: CallContext,
  ) => Promise<Outcome<Methods[M]['response']>>;
};

/** The open end of one agent's stream. */
export interface NodeStream {
  /** Aborts when the agent has gone. */
  readonly signal: AbortSignal;
  /** The agent's address and port, as the socket tells them. */
  readonly peer: string;
  /** The service account token that came with the call; `''` for none. */
  readonly token: string;
  /** Sends one update; false when the agent is slow to read, and no more should be sent until `drained`. */
  send(update: NodeUpdate): boolean;
  /** Resolves when the agent has read on, or has gone. */
  drained(): Promise<void>;
}

/**
 * Serves one agent for as long as it stays; resolves to end the stream. `unproven`: the agent's node is not known, so there is
 * no stream for it, as from a server that does not know the method. `unknown`: that cannot be told now; what the agent holds
 * is still worth something.
 */
export type WatchNodeHandler = (request: WatchNodeRequest, stream: NodeStream) => Promise<StreamOutcome>;

export type StreamOutcome = 'ended' | 'unproven' | 'unknown';

export interface KiamServerOptions {
  readonly contract: Contract;
  readonly handlers: ServiceHandlers;
  readonly watchNode: WatchNodeHandler;
  readonly certificates: Pick<CertificateWatcher, 'subscribe'>;
  readonly counters: GrpcMetrics;
  readonly logger: Logger;
  readonly keepalive: { readonly timeMs: number; readonly timeoutMs: number };
  readonly maxConnectionIdleMs: number;
  readonly maxConnectionAgeMs: number;
  readonly maxConnectionAgeGraceMs: number;
}

const DEFECT: Failure = { kind: 'internal', message: 'internal error' };

const UNPROVEN = { code: status.UNIMPLEMENTED, details: 'the node of the agent is not proven' };
const UNKNOWN = { code: status.UNAVAILABLE, details: 'it is not certain who the agent is' };

/** A request holds an address and a role: a larger message is no request of this contract. */
const LARGEST_REQUEST_BYTES = 64 * 1024;

/** The gRPC server of the contract: mutual TLS, a client certificate of the same authority required. */
export class KiamServer {
  readonly #server: Server;
  readonly #options: KiamServerOptions;

  constructor(options: KiamServerOptions) {
    this.#options = options;
    this.#server = new Server({
      'grpc.max_receive_message_length': LARGEST_REQUEST_BYTES,
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
    });
  }

  /** Listens on `address` (`host:port`) and resolves to the port. Rejects when the address cannot be bound. */
  listen(address: string): Promise<number> {
    const provider = certificateProvider(this.#options.certificates);
    const serverCredentials = experimental.createCertificateProviderServerCredentials(provider, provider, true);
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, serverCredentials, (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
  }

  /** Stops accepting and resolves when what is under way has been answered. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.tryShutdown(() => resolve());
    });
  }

  /** Cuts every connection now. */
  stop(): void {
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
      call.on('cancelled', () => controller.abort());
      const context = {
        signal: controller.signal,
        remainingMs: remainingMs(call.getDeadline()),
        peer: call.getPeer(),
        token: tokenOf(call.metadata),
      };
      const refuse = (failure: Failure): void => {
        const answer = statusOf(failure);
        counts.handled(answer.code);
        reply(answer);
      };
      handlers[method](call.request, context).then(
        (outcome) => {
          if (!outcome.ok) {
            refuse(outcome.failure);
            return;
          }
          counts.sent();
          counts.handled(status.OK);
          reply(null, outcome.value);
        },
        (error: unknown) => {
          logger.error('a request failed on a defect', { 'grpc.method': method, error: describeError(error) });
          refuse(DEFECT);
        },
      );
    };
  }

  #watchNode() {
    const { counters, logger, watchNode } = this.#options;
    const counts = methodCounts(counters, 'WatchNode', 'server_stream');
    return (call: NodeCall): void => {
      counts.started();
      counts.received();
      const fail = (answer: Pick<WireStatus, 'code' | 'details'>): void => {
        counts.handled(answer.code);
        call.emit('error', answer);
      };
      const end = (outcome: StreamOutcome): void => {
        if (outcome !== 'ended') return fail(outcome === 'unproven' ? UNPROVEN : UNKNOWN);
        counts.handled(status.OK);
        call.end();
        return undefined;
      };
      watchNode(
        call.request,
        openStream(call, () => counts.sent()),
      ).then(end, (error: unknown) => {
        logger.error('a stream failed on a defect', { 'grpc.method': 'WatchNode', error: describeError(error) });
        fail(statusOf(DEFECT));
      });
    };
  }
}

type NodeCall = ServerWritableStream<WatchNodeRequest, NodeUpdate>;

function openStream(call: NodeCall, onSent: () => void): NodeStream {
  const controller = new AbortController();
  call.on('cancelled', () => controller.abort());
  call.on('error', () => controller.abort());
  return {
    signal: controller.signal,
    peer: call.getPeer(),
    token: tokenOf(call.metadata),
    send: (update) => {
      if (controller.signal.aborted) return false;
      onSent();
      return call.write(update);
    },
    drained: () =>
      new Promise((resolve) => {
        const finish = (): void => {
          call.off('drain', finish);
          controller.signal.removeEventListener('abort', finish);
          resolve();
        };
        call.once('drain', finish);
        controller.signal.addEventListener('abort', finish);
        if (controller.signal.aborted) finish();
      }),
  };
}

function tokenOf(metadata: Metadata): string {
  const value = metadata.get('authorization')[0];
  return typeof value === 'string' && value.startsWith('Bearer ') ? value.slice('Bearer '.length) : '';
}

function remainingMs(deadline: Date | number): number {
  return Number(deadline) - Date.now();
}

/** Hands published certificates to grpc-js. It must not be called back while it subscribes: it stores its watcher after. */
function certificateProvider(certificates: Pick<CertificateWatcher, 'subscribe'>): experimental.CertificateProvider {
  const ends = new Map<unknown, () => void>();
  const follow = (listener: unknown, deliver: (snapshot: CertificateSnapshot) => void): void => {
    let end = (): void => {};
    let ended = false;
    queueMicrotask(() => {
      if (!ended) end = certificates.subscribe(deliver);
    });
    ends.set(listener, () => {
      ended = true;
      end();
    });
  };
  const unfollow = (listener: unknown): void => {
    ends.get(listener)?.();
    ends.delete(listener);
  };
  return {
    addCaCertificateListener: (listener) => follow(listener, ({ caPem }) => listener({ caCertificate: caPem })),
    removeCaCertificateListener: unfollow,
    addIdentityCertificateListener: (listener) =>
      follow(listener, ({ certificatePem, privateKeyPem }) =>
        listener({ certificate: certificatePem, privateKey: privateKeyPem }),
      ),
    removeIdentityCertificateListener: unfollow,
  };
}
