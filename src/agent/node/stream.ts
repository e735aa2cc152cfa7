import type { KiamClient, StreamEnd, WatchOptions } from '#rpc/client.ts';
import { isUnimplemented } from '#rpc/status.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { NodeReporter } from './reporter.ts';
import type { NodeStore } from './store.ts';

export interface NodeStreamOptions {
  readonly client: Pick<KiamClient, 'watchNode'>;
  readonly store: Pick<NodeStore, 'apply' | 'begin' | 'clear'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly reporter: Pick<NodeReporter, 'run'>;
  /** The node's address; the server believes what it can prove. */
  readonly hostIp: string;
  readonly random?: () => number;
}

/** The server sends a heartbeat every two seconds: a stream that misses three is lost, whatever TCP says. */
const SILENCE_LIMIT_MS = 6000;
const SILENCE_CHECK_MS = 1000;

/** A stream that has missed one and a half heartbeats is no longer relied on where there is something to fall back on. */
const QUIET_MS = 3000;

/** A stream that ends sooner than this after its complete set is no proof that the next one will last. */
const PROVEN_MS = 5000;

/** A server that refuses a stream now may offer one once it knows this node, or after an update. */
const ASK_AGAIN = { firstMs: 1000, capMs: 60_000 };

/**
 * Keeps the node's store current over one stream at a time, until stopped, and knows how long nothing has been received: the
 * store is then less certain.
 */
export class NodeStream {
  readonly #options: NodeStreamOptions;
  #lastHeardMs = Number.NEGATIVE_INFINITY;
  /** When something was last received on the present stream, in monotonic milliseconds. */
  #heardMs = Number.NEGATIVE_INFINITY;
  #isSynced = false;
  #said: 'nothing' | 'streaming' | 'lost' | 'none' = 'nothing';

  constructor(options: NodeStreamOptions) {
    this.#options = options;
  }

  /** How long nothing has been received from the server, in milliseconds; infinite before the first complete set. */
  silenceMs(): number {
    return this.#isSynced ? this.#options.clock.monotonic() - this.#lastHeardMs : Number.POSITIVE_INFINITY;
  }

  /** Whether the store is kept current now. */
  get isLive(): boolean {
    return this.#said === 'streaming' && this.silenceMs() < SILENCE_LIMIT_MS;
  }

  /** Whether servers offer streams for this node, as far as is known. */
  get isOffered(): boolean {
    return this.#said !== 'none';
  }

  /** Whether the stream has received something within the last heartbeat. If not, the servers may be hung. */
  get isHeard(): boolean {
    return this.isLive && this.#options.clock.monotonic() - this.#heardMs < QUIET_MS;
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random = Math.random } = this.#options;
    const backoff = createBackoff({ firstMs: 200, capMs: 10_000, random });
    const askAgain = createBackoff({ ...ASK_AGAIN, random });
    // The first time a stream is lost, another replica is tried at once; only after that agents wait, with jitter.
    let isFirstLoss = true;
    while (!signal.aborted) {
      const { end, isPlanned, hasProven } = await this.#follow(signal);
      if (signal.aborted) return;
      if (hasProven) {
        isFirstLoss = true;
        backoff.reset();
        askAgain.reset();
      }
      if (isUnimplemented(end.code)) {
        this.#none();
        await sleep(clock, askAgain.nextMs(), signal);
        continue;
      }
      if (!isPlanned) this.#lost(end.details);
      if (isPlanned && hasProven) continue;
      if (!isFirstLoss) await sleep(clock, backoff.nextMs() * random(), signal);
      isFirstLoss = false;
    }
  }

  /** One stream, from its beginning to its end. */
  async #follow(signal: AbortSignal): Promise<{ end: StreamEnd; isPlanned: boolean; hasProven: boolean }> {
    const { client, store, clock, hostIp, reporter } = this.#options;
    const silent = new AbortController();
    const over = new AbortController();
    let isPlanned = false;
    let syncedMs = Number.POSITIVE_INFINITY;
    let heardMs = clock.monotonic();
    let cancelCheck = (): void => {};
    const check = (): void => {
      if (clock.monotonic() - heardMs >= SILENCE_LIMIT_MS) silent.abort();
      else cancelCheck = clock.after(SILENCE_CHECK_MS, check);
    };
    check();
    store.begin();
    const onUpdate: WatchOptions['onUpdate'] = (update, report) => {
      heardMs = clock.monotonic();
      this.#heardMs = heardMs;
      store.apply(update, clock);
      if (update.moved !== undefined) isPlanned = true;
      if (update.synced !== undefined) {
        syncedMs = heardMs;
        this.#streaming();
        void reporter.run(report, AbortSignal.any([signal, over.signal]));
      }
      if (this.#isSynced && this.#said === 'streaming') this.#lastHeardMs = heardMs;
    };
    const end = await client.watchNode(
      { host_ip: hostIp },
      { onUpdate, signal: AbortSignal.any([signal, silent.signal]) },
    );
    cancelCheck();
    over.abort();
    this.#heardMs = Number.NEGATIVE_INFINITY;
    const hasProven = clock.monotonic() - syncedMs >= PROVEN_MS;
    return { end, isPlanned: isPlanned || end.moved, hasProven };
  }

  #streaming(): void {
    this.#isSynced = true;
    if (this.#said !== 'streaming') this.#options.logger.info('the server streams what the pods of this node may have');
    this.#said = 'streaming';
  }

  #lost(cause: string): void {
    if (this.#said !== 'lost')
      this.#options.logger.warn('the stream from the server is lost; retrying', { error: cause });
    this.#said = 'lost';
  }

  /** An older server, or one that cannot tell which node this is: a server is asked for every request. */
  #none(): void {
    if (this.#said !== 'none')
      this.#options.logger.info('the server offers no stream for this node: it is asked for each request');
    this.#said = 'none';
    this.#isSynced = false;
    this.#options.store.clear(this.#options.clock);
  }
}
