import type { Latency } from './histogram.ts';

/** What the bench tells the process that makes load. One job runs at a time. */
export interface Job {
  /**
   * `closed`: every connection asks again as soon as it is answered. `open`: requests are due at a constant rate, whatever the
   * answers do, and each is timed from when it was due. `once`: every connection asks a single time, all together. `stall`: connections send half a request, a byte a second.
   */
  readonly kind: 'closed' | 'open' | 'once' | 'stall';
  /** The address that is connected to. */
  readonly host: string;
  readonly port: number;
  /** `{connection}` stands for the number of the connection. */
  readonly path: string;
  /** Lines of the head, each with its end. */
  readonly headers: string;
  /** Source addresses: connection n takes address n modulo their number. */
  readonly from: readonly string[];
  readonly connections: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
  /** For `open`. */
  readonly requestsPerSecond: number;
}

export interface LoadResult {
  /** By HTTP status; broken connections as `0`. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly requestsPerSecond: number;
  /** Of answers with status 200. */
  readonly latency: Latency;
  /** For `open`: how late the generator itself sent. */
  readonly lateness: Latency;
}

export type LoadMessage = { readonly type: 'begun' } | { readonly type: 'done'; readonly result: LoadResult };

/** What pods-process.ts reports, since its last report. */
export interface PodsFigures {
  readonly pods: number;
  readonly changes: number;
  /** Since its start. */
  readonly tookMs: number;
  /** The longest that its event loop was held up. */
  readonly stallMs: number;
  readonly stallP99Ms: number;
  /** After a collection of garbage. */
  readonly heapKiB: number;
}
