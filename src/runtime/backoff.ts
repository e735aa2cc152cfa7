/** How long to wait between attempts: full jitter between half of the bound and the bound, which doubles up to a cap. */
export interface Backoff {
  /** The next delay in milliseconds. */
  nextMs(): number;
  /** Starts over after a success. */
  reset(): void;
}

export interface BackoffOptions {
  readonly firstMs: number;
  readonly capMs: number;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

/**
 * Exponential back-off with jitter. Jitter spreads clients that failed together
 * (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/).
 */
export function createBackoff({ firstMs, capMs, random = Math.random }: BackoffOptions): Backoff {
  let boundMs = firstMs;
  return {
    nextMs: () => {
      const delayMs = boundMs / 2 + (random() * boundMs) / 2;
      boundMs = Math.min(boundMs * 2, capMs);
      return delayMs;
    },
    reset: () => {
      boundMs = firstMs;
    },
  };
}
