import type { Clock } from '#runtime/clock.ts';
import type { KubernetesConnection } from './connection.ts';
import { failureOf } from './list.ts';
import { field, parseJson, textField } from './json-fields.ts';
import { compareVersions } from './resource-version.ts';

/**
 * How old the view may be at most. That a watch delivered something lately proves nothing: a watch that is late delivers
 * events of back then. A read of the present does: once the watch has reached the version that a consistent read told, the
 * view holds everything up to the moment at which that read began.
 */
export interface Confirmation {
  /** A complete list is itself such a read. */
  restart(startedMs: number, resourceVersion: string): void;
  /** Asks the API server how far it is. Never rejects; without an answer the age just grows. */
  read(signal: AbortSignal): Promise<void>;
  /** The watch has got to this version. */
  reach(resourceVersion: string): void;
  /** Milliseconds since the start of the last read that the watch has reached; infinite before the first. */
  ageMs(): number;
}

export interface ConfirmationOptions {
  readonly connection: KubernetesConnection;
  readonly path: string;
  readonly clock: Clock;
}

/** Reads that the watch has not reached yet. A quiet resource gets there with its next bookmark. */
const MOST_PENDING = 4;

export function createConfirmation({ connection, path, clock }: ConfirmationOptions): Confirmation {
  let position = '';
  let confirmedMs: number | undefined;
  let pending: readonly { readonly startedMs: number; readonly resourceVersion: string }[] = [];

  const settle = (): void => {
    const reached = pending.filter(({ resourceVersion }) => hasReached(position, resourceVersion));
    pending = pending.filter((read) => !reached.includes(read)).slice(-MOST_PENDING);
    for (const { startedMs } of reached) confirmedMs = Math.max(confirmedMs ?? startedMs, startedMs);
  };

  return {
    restart: (startedMs, resourceVersion) => {
      position = resourceVersion;
      confirmedMs = startedMs;
      pending = [];
    },
    read: async (signal) => {
      const startedMs = clock.monotonic();
      const resourceVersion = await currentVersion({ connection, path, signal });
      if (resourceVersion === undefined) return;
      pending = [...pending, { startedMs, resourceVersion }];
      settle();
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

/**
 * The store's present version, from a list of one: without a resourceVersion it is a quorum read
 * (https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list).
 */
async function currentVersion(options: {
  readonly connection: KubernetesConnection;
  readonly path: string;
  readonly signal: AbortSignal;
}): Promise<string | undefined> {
  const { connection, path, signal } = options;
  try {
    const response = await connection.request({
      method: 'GET',
      path,
      query: { limit: '1' },
      headersWithinMs: 5_000,
      silenceLimitMs: 5_000,
      signal,
    });
    if (response.status !== 200) {
      await failureOf(response);
      return undefined;
    }
    const text = await response.text(8 * 1024 * 1024);
    const version = textField(field(parseJson(text), 'metadata'), 'resourceVersion');
    return version === '' ? undefined : version;
  } catch {
    return undefined;
  }
}
