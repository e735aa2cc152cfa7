import type { Clock } from '#runtime/clock.ts';
import { apiFailureOf } from './list.ts';
import { field, parseJson, textField } from './json-fields.ts';
import type { AskPatiently } from './patience.ts';
import { compareVersions } from './resource-version.ts';

/**
 * The greatest possible age of the view. A recent event on a watch proves nothing, because a late watch delivers old events. A
 * consistent read does: once the watch has reached the version that the read returned, the view holds everything up to the
 * moment at which that read began.
 */
export interface ViewAge {
  /** A complete list is itself such a read. */
  restart(startedMs: number, resourceVersion: string): void;
  /**
   * Reads the API server's present version, unless a read is in progress already: one that is queued for longer than a watch
   * lasts still counts. Never throws; without an answer the age just grows.
   */
  read(): void;
  /** The watch has got to this version. */
  reach(resourceVersion: string): void;
  /**
   * Milliseconds since the start of the last read that the watch has reached. Infinite before the first, and from a read of an
   * older state until the next complete list.
   */
  ageMs(): number;
}

export interface ViewAgeOptions {
  readonly ask: AskPatiently;
  readonly path: string;
  readonly clock: Clock;
  /** Ends the reads. */
  readonly signal: AbortSignal;
  /**
   * A consistent read returned a version older than the position at which it began: etcd went back, as after the restore of a
   * backup. A watch from a version in the future is accepted and stays silent
   * (https://github.com/kubernetes/kubernetes/issues/107457).
   */
  readonly onOlderRead: (position: string, resourceVersion: string) => void;
}

/** Reads that the watch has not reached yet. A quiet resource gets there with its next bookmark. */
const MOST_PENDING = 4;

export function createViewAge(options: ViewAgeOptions): ViewAge {
  const { clock, onOlderRead } = options;
  let position = '';
  /** Counts complete lists: a read that began before one says nothing about it. */
  let lists = 0;
  let isReading = false;
  let confirmedMs: number | undefined;
  let pending: readonly { readonly startedMs: number; readonly resourceVersion: string }[] = [];

  const settle = (): void => {
    const reached = pending.filter(({ resourceVersion }) => hasReached(position, resourceVersion));
    pending = pending.filter((read) => !reached.includes(read)).slice(-MOST_PENDING);
    for (const { startedMs } of reached) confirmedMs = Math.max(confirmedMs ?? startedMs, startedMs);
  };

  const read = async (): Promise<void> => {
    const startedMs = clock.monotonic();
    const began = { position, lists };
    const resourceVersion = await currentVersion(options);
    if (resourceVersion === undefined || began.lists !== lists) return;
    if (isOlder(resourceVersion, began.position)) {
      confirmedMs = undefined;
      pending = [];
      onOlderRead(began.position, resourceVersion);
      return;
    }
    pending = [...pending, { startedMs, resourceVersion }];
    settle();
  };

  return {
    restart: (startedMs, resourceVersion) => {
      lists += 1;
      position = resourceVersion;
      confirmedMs = startedMs;
      pending = [];
    },
    read: () => {
      if (isReading) return;
      isReading = true;
      void read().finally(() => {
        isReading = false;
      });
    },
    reach: (resourceVersion) => {
      position = resourceVersion;
      settle();
    },
    ageMs: () => (confirmedMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonic() - confirmedMs),
  };
}

function hasReached(position: string, resourceVersion: string): boolean {
  const order = compareVersions(position, resourceVersion);
  return order !== undefined && order >= 0;
}

function isOlder(resourceVersion: string, position: string): boolean {
  const order = compareVersions(resourceVersion, position);
  return order !== undefined && order < 0;
}

/**
 * The store's present version, from a list of one: without a resourceVersion it is a quorum read
 * (https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list).
 */
async function currentVersion({ ask, path, signal }: ViewAgeOptions): Promise<string | undefined> {
  try {
    const response = await ask({ method: 'GET', path, query: { limit: '1' }, silenceLimitMs: 5_000, signal });
    if (response.status !== 200) {
      await apiFailureOf(response);
      return undefined;
    }
    const text = await response.text(8 * 1024 * 1024);
    const version = textField(field(parseJson(text), 'metadata'), 'resourceVersion');
    return version === '' ? undefined : version;
  } catch {
    return undefined;
  }
}
