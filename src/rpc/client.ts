import { type Client, Metadata, status } from '@grpc/grpc-js';

import { type Clock, systemClock } from '#runtime/clock.ts';
import type { GrpcMetrics } from '#telemetry/grpc-metrics.ts';
import { parseListenAddress } from '#telemetry/listen-address.ts';

import { type CallResult, callStream, callUnary, notMade, type EndStatus } from './calls.ts';
import type { CertificateSnapshot } from './certificates.ts';
import type { CertificateWatcher } from './certificate-watcher.ts';
import type {
  Contract,
  MethodName,
  Methods,
  NodeUpdate,
  UnaryContract,
  WatchNodeRequest,
  WireNodeReport,
} from './contract.ts';
import { type MethodCounts, methodCounts } from './metrics.ts';
import { type KeepaliveOptions, openClient } from './open-client.ts';
import { type ChosenReplica, ReplicaConnections } from './replica-connections.ts';
import { type ResolveHost, resolveHost, ServerAddresses } from './server-addresses.ts';

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
  readonly resolve?: ResolveHost;
}

export interface CallOptions {
  /** How long the call may take, in milliseconds from now. Sent to the server as its deadline. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** The replicas that the same question was sent to. The call goes to another where there is one, and adds it to the set. */
  readonly tried?: Set<string>;
}

export interface WatchOptions {
  /** `report` tells the server of this stream, and no other, how the node is; never rejects. */
  readonly onUpdate: (update: NodeUpdate, report: SendReport) => void;
  readonly signal: AbortSignal;
}

export type SendReport = (
  report: WireNodeReport,
  options: Pick<CallOptions, 'timeoutMs' | 'signal'>,
) => Promise<CallResult<object>>;

/** How a stream ended: `moved` when it is to be opened again, at once, because of a new certificate. */
export interface StreamEnd extends EndStatus {
  readonly moved: boolean;
}

/** How long connections under a new certificate may take before they replace the old ones all the same. */
const HANDOVER_MS = 5000;

const NEVER = new AbortController().signal;

/**
 * Calls the servers of a name, ours or Kiam's. A new certificate is used by new connections only, so each publication opens
 * new ones; once a server is connected calls move to them, and the old ones close after their last call.
 */
export class KiamClient {
  readonly #options: KiamClientOptions;
  readonly #clock: Clock;
  readonly #host: string;
  readonly #port: number;
  readonly #counts: Readonly<Record<MethodName, MethodCounts>>;
  readonly #watchCounts: MethodCounts;
  readonly #addresses: ServerAddresses;
  readonly #unsubscribe: () => void;
  #connections: ReplicaConnections | undefined;
  #successor: ReplicaConnections | undefined;
  #isClosed = false;

  /** Throws when `serverAddress` is not of the form `host:port`. */
  constructor(options: KiamClientOptions) {
    const { counters, serverAddress } = options;
    const parsed = parseListenAddress(serverAddress);
    if (!parsed.ok) throw new Error(`the server's address ${serverAddress} ${parsed.reason}`);
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#host = parsed.address.host;
    this.#port = parsed.address.port;
    this.#counts = {
      GetPodRole: methodCounts(counters, 'GetPodRole'),
      GetPodCredentials: methodCounts(counters, 'GetPodCredentials'),
      GetHealth: methodCounts(counters, 'GetHealth'),
      ReportNode: methodCounts(counters, 'ReportNode'),
    };
    this.#watchCounts = methodCounts(counters, 'WatchNode', 'server_stream');
    this.#addresses = new ServerAddresses({
      host: this.#host,
      clock: this.#clock,
      resolve: options.resolve ?? resolveHost,
      onChange: () => {
        for (const connections of [this.#connections, this.#successor]) connections?.update(this.#addresses.current);
      },
      isTroubled: () => this.#connections?.isTroubled ?? false,
    });
    this.#unsubscribe = options.certificates.subscribe((snapshot) => this.#connect(snapshot));
  }

  /** Makes one call. Never rejects: a failure is a status. */
  async call<M extends MethodName>(
    method: M,
    request: Methods[M]['request'],
    { timeoutMs, signal, tried = new Set() }: CallOptions,
  ): Promise<CallResult<Methods[M]['response']>> {
    const deadlineMs = this.#clock.monotonic() + timeoutMs;
    const counts = this.#counts[method];
    counts.started();
    const chosen = await this.#choose((connections) => connections.choose(tried), deadlineMs, signal);
    if ('code' in chosen) {
      counts.handled(chosen.code);
      return notMade(chosen);
    }
    const { replica, connections } = chosen;
    const contract: UnaryContract = this.#options.contract;
    const call = { definition: contract[method], request, metadata: this.#metadata(), counts, signal };
    const leftMs = deadlineMs - this.#clock.monotonic();
    const ended = connections.replicas.asked(replica.address);
    const result = await replica.connection.run((client) => callUnary(client, call, Date.now() + leftMs));
    ended(result.ok || (result.code !== status.DEADLINE_EXCEEDED && result.code !== status.CANCELLED));
    return result;
  }

  /** Follows what a node's pods may have, until the stream ends or `signal` aborts. Never rejects. */
  async watchNode(request: WatchNodeRequest, { onUpdate, signal }: WatchOptions): Promise<StreamEnd> {
    const counts = this.#watchCounts;
    counts.started();
    const choose = (connections: ReplicaConnections): ChosenReplica | undefined =>
      connections.chooseForStream(request.host_ip);
    const chosen = await this.#choose(choose, Number.POSITIVE_INFINITY, signal);
    if ('code' in chosen) {
      counts.handled(chosen.code);
      return { ...chosen, moved: false };
    }
    const { replica, connections } = chosen;
    const call = {
      definition: this.#options.contract.WatchNode,
      request,
      metadata: this.#metadata(),
      counts,
      signal: AbortSignal.any([signal, connections.retired]),
    };
    const ended = connections.replicas.streamOpened(replica.address);
    const end = await replica.connection.run((client) => {
      const report: SendReport = (message, { timeoutMs, signal: ended }) =>
        this.#report(client, message, timeoutMs, ended);
      return callStream(client, call, (update) => onUpdate(update, report));
    });
    ended(end.code === status.OK || connections.retired.aborted);
    // A stream is cancelled when nothing was received on it for too long.
    if (end.code === status.CANCELLED && signal.aborted) connections.replicas.foundSilent(replica.address);
    return { ...end, moved: connections.retired.aborted && !signal.aborted };
  }

  #report(
    client: Client,
    request: WireNodeReport,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<CallResult<object>> {
    const counts = this.#counts.ReportNode;
    counts.started();
    const definition = this.#options.contract.ReportNode;
    return callUnary(
      client,
      { definition, request, metadata: this.#metadata(), counts, signal },
      Date.now() + timeoutMs,
    );
  }

  /** Whether a replica other than these is connected. */
  hasOther(tried: ReadonlySet<string>): boolean {
    return this.#connections?.replicas.hasOther(tried) ?? false;
  }

  /** Waits until a server is connected, for `timeoutMs` at most; resolves to whether one is. */
  async waitUntilConnected(timeoutMs: number): Promise<boolean> {
    return this.#connections !== undefined && this.#untilConnected(this.#connections, timeoutMs);
  }

  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    this.#addresses.close();
    for (const connections of [this.#connections, this.#successor]) connections?.close();
  }

  /** The replica to call next, at once where one is connected; otherwise why there is none, as soon as that is known. */
  async #choose(
    choose: (connections: ReplicaConnections) => ChosenReplica | undefined,
    deadlineMs: number,
    signal: AbortSignal,
  ): Promise<{ replica: ChosenReplica; connections: ReplicaConnections } | EndStatus> {
    for (;;) {
      const connections = this.#connections;
      if (this.#isClosed || connections === undefined) return { code: status.UNAVAILABLE, details: this.#whyNot() };
      if (signal.aborted) return { code: status.CANCELLED, details: 'the call was cancelled' };
      const replica = choose(connections);
      if (replica !== undefined) return { replica, connections };
      const problem = connections.hasFailed ? 'connecting takes too long' : this.#addresses.problem;
      if (problem !== undefined) return { code: status.UNAVAILABLE, details: problem };
      const leftMs = deadlineMs - this.#clock.monotonic();
      if (leftMs <= 0) return { code: status.UNAVAILABLE, details: 'no server was connected in time' };
      await connections.untilChange(leftMs, signal);
    }
  }

  /** Why no call can be made. */
  #whyNot(): string {
    if (this.#isClosed) return 'the agent is stopping';
    return this.#options.certificates.problem ?? 'no TLS certificate has been read yet';
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    const token = this.#options.token?.() ?? '';
    if (token !== '') metadata.set('authorization', `Bearer ${token}`);
    return metadata;
  }

  #connect(snapshot: CertificateSnapshot): void {
    if (this.#isClosed) return;
    const connections = new ReplicaConnections({
      open: (address) => {
        const { serverAddress, serverName = this.#host, keepalive } = this.#options;
        return openClient({ address, port: this.#port, authority: serverAddress, serverName, snapshot, keepalive });
      },
      clock: this.#clock,
      onTrouble: () => this.#addresses.refresh(),
    });
    connections.update(this.#addresses.current);
    const previous = this.#connections;
    if (previous === undefined) {
      this.#connections = connections;
      return;
    }
    // Two publications in quick succession: the connections of the first are closed before they get a call.
    this.#successor?.close();
    this.#successor = connections;
    void this.#untilConnected(connections, HANDOVER_MS).then(() => {
      if (this.#successor !== connections || this.#isClosed) return;
      this.#successor = undefined;
      this.#connections = connections;
      previous.retire();
    });
  }

  async #untilConnected(connections: ReplicaConnections, timeoutMs: number): Promise<boolean> {
    const deadlineMs = this.#clock.monotonic() + timeoutMs;
    for (;;) {
      const leftMs = deadlineMs - this.#clock.monotonic();
      if (connections.isConnected || leftMs <= 0 || this.#isClosed) return connections.isConnected;
      await connections.untilChange(leftMs, NEVER);
    }
  }
}
