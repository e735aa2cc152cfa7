import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';

import { type Clock, systemClock } from '#runtime/clock.ts';
import type { GrpcMetrics } from '#telemetry/grpc-metrics.ts';

import type { CertificateSnapshot } from './certificates.ts';
import type { CertificateWatcher } from './certificate-watcher.ts';
import type { Contract, MethodName, Methods, NodeUpdate, UnaryContract, WatchNodeRequest } from './contract.ts';
import { type MethodCounts, methodCounts } from './metrics.ts';
import { ReplicaCalls } from './replica-balancer.ts';
import { Replicas } from './replicas.ts';
import { verifiedName } from './verified-name.ts';

export interface KeepaliveOptions {
  readonly timeMs: number;
  readonly timeoutMs: number;
  readonly permitWithoutStream: boolean;
}

export interface KiamClientOptions {
  readonly contract: Contract;
  /** `host:port`. Every address of the host is used in turn, and the certificate must be the host's. */
  readonly serverAddress: string;
  /** The name that the certificate must have, where it is not the host's: for one address among a name's several. */
  readonly serverName?: string;
  readonly certificates: Pick<CertificateWatcher, 'current' | 'subscribe' | 'problem'>;
  readonly keepalive: KeepaliveOptions;
  readonly counters: GrpcMetrics;
  /** The service account token to send along; `''` for none. Asked for at each call. */
  readonly token?: () => string;
  readonly clock?: Clock;
}

export interface CallOptions {
  /** How long the server may take, in milliseconds from now: it is told, and the call ends then. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** The replicas that the same question has been to: another is asked where there is one, and is put there. */
  readonly tried?: Set<string>;
}

export type CallResult<T> =
  | { readonly ok: true; readonly response: T }
  | { readonly ok: false; readonly code: status; readonly details: string; readonly metadata: Metadata };

export interface WatchOptions {
  readonly onUpdate: (update: NodeUpdate) => void;
  readonly signal: AbortSignal;
}

/** How a stream ended: `moved` when it was to be opened anew, at once, because of a new certificate. */
export interface StreamEnd {
  readonly code: status;
  readonly details: string;
  readonly moved: boolean;
}

/** A channel and the calls that are under way on it. */
interface Connection {
  readonly client: Client;
  readonly replicaCalls: ReplicaCalls;
  calls: number;
  /** Aborts when another channel has taken its place: calls still end on it, streams move. */
  readonly retirement: AbortController;
}

/** How long a channel under a new certificate may take to connect before it replaces the old one all the same. */
const HANDOVER_MS = 5000;

/**
 * Calls a server of this contract, ours or Kiam's. A new certificate is used by new connections only, so each publication
 * opens a new channel; once that is connected calls move to it, and the old one closes after its last call.
 */
export class KiamClient {
  readonly #options: KiamClientOptions;
  readonly #counts: Readonly<Record<MethodName, MethodCounts>>;
  readonly #watchCounts: MethodCounts;
  readonly #unsubscribe: () => void;
  #connection: Connection | undefined;
  #successor: Connection | undefined;
  #closed = false;

  constructor(options: KiamClientOptions) {
    this.#options = options;
    this.#counts = {
      GetPodRole: methodCounts(options.counters, 'GetPodRole'),
      GetPodCredentials: methodCounts(options.counters, 'GetPodCredentials'),
      GetHealth: methodCounts(options.counters, 'GetHealth'),
    };
    this.#watchCounts = methodCounts(options.counters, 'WatchNode', 'server_stream');
    this.#unsubscribe = options.certificates.subscribe((snapshot) => this.#connect(snapshot));
  }

  /** Makes one call. Never rejects: what goes wrong is a status. */
  call<M extends MethodName>(
    method: M,
    request: Methods[M]['request'],
    options: CallOptions,
  ): Promise<CallResult<Methods[M]['response']>> {
    const connection = this.#connection;
    if (connection === undefined || this.#closed) {
      return Promise.resolve({
        ok: false,
        code: status.UNAVAILABLE,
        details: this.#whyNot(),
        metadata: new Metadata(),
      });
    }
    connection.calls += 1;
    return this.#makeCall(connection, method, request, options).finally(() => {
      connection.calls -= 1;
      closeWhenIdle(connection);
    });
  }

  /** Follows what a node's pods may have, until the stream ends or `signal` aborts. Never rejects. */
  watchNode(request: WatchNodeRequest, { onUpdate, signal }: WatchOptions): Promise<StreamEnd> {
    const connection = this.#connection;
    if (connection === undefined || this.#closed) {
      return Promise.resolve({ code: status.UNAVAILABLE, details: this.#whyNot(), moved: false });
    }
    const { path, requestSerialize, responseDeserialize } = this.#options.contract.WatchNode;
    const counts = this.#watchCounts;
    const retired = connection.retirement.signal;
    connection.calls += 1;
    counts.started();
    counts.sent();
    const stream = connection.client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      this.#metadata(),
    );
    return new Promise<StreamEnd>((resolve) => {
      const cancel = (): void => stream.cancel();
      const end = (code: status, details: string): void => {
        signal.removeEventListener('abort', cancel);
        retired.removeEventListener('abort', cancel);
        counts.handled(code);
        resolve({ code, details, moved: retired.aborted && !signal.aborted });
      };
      stream.on('data', (update: NodeUpdate) => {
        counts.received();
        onUpdate(update);
      });
      // The status says all; without a listener the error of a stream that breaks would be nobody's.
      stream.on('error', () => {});
      stream.on('status', ({ code, details }) => end(code, details));
      signal.addEventListener('abort', cancel, { once: true });
      retired.addEventListener('abort', cancel, { once: true });
      if (signal.aborted || retired.aborted) cancel();
    }).finally(() => {
      connection.calls -= 1;
      closeWhenIdle(connection);
    });
  }

  /** Whether a replica is connected that is not one of these. */
  hasOther(tried: ReadonlySet<string>): boolean {
    return this.#connection?.replicaCalls.replicas.hasOther(tried) ?? false;
  }

  /** Waits until a server is connected, at most so long: whether it is. */
  async waitUntilConnected(timeoutMs: number): Promise<boolean> {
    const connection = this.#connection;
    return connection !== undefined && (await isConnectedWithin(connection.client, timeoutMs));
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    for (const connection of [this.#connection, this.#successor]) connection?.client.close();
  }

  #makeCall<M extends MethodName>(
    { client, replicaCalls }: Connection,
    method: M,
    request: Methods[M]['request'],
    { timeoutMs, signal, tried = new Set() }: CallOptions,
  ): Promise<CallResult<Methods[M]['response']>> {
    const unary: UnaryContract = this.#options.contract;
    const { path, requestSerialize, responseDeserialize } = unary[method];
    const counts = this.#counts[method];
    const metadata = this.#metadata();
    const endCall = replicaCalls.begin(metadata, tried);
    return new Promise((resolve) => {
      counts.started();
      counts.sent();
      const finish = (error: ServiceError | null, response: Methods[M]['response'] | undefined): void => {
        signal.removeEventListener('abort', cancel);
        endCall();
        counts.handled(error?.code ?? status.OK);
        if (error === null && response !== undefined) {
          counts.received();
          resolve({ ok: true, response });
        } else {
          resolve({
            ok: false,
            code: error?.code ?? status.INTERNAL,
            details: error?.details ?? 'the answer was empty',
            metadata: error?.metadata ?? new Metadata(),
          });
        }
      };
      const deadline = Date.now() + timeoutMs;
      const call = client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        { deadline },
        finish,
      );
      const cancel = (): void => call.cancel();
      if (signal.aborted) cancel();
      else signal.addEventListener('abort', cancel, { once: true });
    });
  }

  /** Why no call can be made. */
  #whyNot(): string {
    if (this.#closed) return 'the agent is stopping';
    return this.#options.certificates.problem ?? 'no TLS certificate has been read yet';
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    const token = this.#options.token?.() ?? '';
    if (token !== '') metadata.set('authorization', `Bearer ${token}`);
    return metadata;
  }

  #connect(snapshot: CertificateSnapshot): void {
    if (this.#closed) return;
    const replicaCalls = new ReplicaCalls(new Replicas(this.#options.clock ?? systemClock));
    const connection: Connection = {
      client: this.#createClient(snapshot, replicaCalls),
      replicaCalls,
      calls: 0,
      retirement: new AbortController(),
    };
    const previous = this.#connection;
    if (previous === undefined) {
      this.#connection = connection;
      connection.client.getChannel().getConnectivityState(true);
      return;
    }
    // Two publications in quick succession: the one in the middle never gets a call.
    this.#successor?.client.close();
    this.#successor = connection;
    void isConnectedWithin(connection.client, HANDOVER_MS).then(() => {
      if (this.#successor !== connection || this.#closed) return;
      this.#successor = undefined;
      this.#connection = connection;
      previous.retirement.abort();
      closeWhenIdle(previous);
    });
  }

  #createClient(snapshot: CertificateSnapshot, replicaCalls: ReplicaCalls): Client {
    const { serverAddress, serverName, keepalive } = this.#options;
    const { verification, options } = verifiedName(serverAddress, serverName);
    return new Client(
      `dns:///${serverAddress}`,
      credentials.createSsl(snapshot.caPem, snapshot.privateKeyPem, snapshot.certificatePem, verification),
      {
        ...options,
        ...replicaCalls.options(),
        'grpc.keepalive_time_ms': keepalive.timeMs,
        'grpc.keepalive_timeout_ms': keepalive.timeoutMs,
        'grpc.keepalive_permit_without_calls': keepalive.permitWithoutStream ? 1 : 0,
        // Servers come and go with their pods: their names are asked again soon, and connections tried again soon.
        'grpc.dns_min_time_between_resolutions_ms': 2000,
        'grpc.initial_reconnect_backoff_ms': 200,
        'grpc.min_reconnect_backoff_ms': 200,
        'grpc.max_reconnect_backoff_ms': 5000,
        // Channels never share connections: a retired one must take its certificate with it.
        'grpc.use_local_subchannel_pool': 1,
      },
    );
  }
}

function isConnectedWithin(client: Client, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    client.waitForReady(Date.now() + timeoutMs, (error) => resolve(error === undefined || error === null));
  });
}

function closeWhenIdle(connection: Connection): void {
  if (connection.retirement.signal.aborted && connection.calls === 0) connection.client.close();
}
