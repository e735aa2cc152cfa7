import assert from 'node:assert/strict';

/** What a request may cost of the processor, in milliseconds. */
export const STALL_MS = 50;

/**
 * Does the work, prepared again each time, and holds the time that it has the processor to a limit: on a busy machine others
 * have it in between. What takes too long is done twice more: the collector of garbage may have come in between.
 */
export function within<P, T>(limitMs: number, what: string, prepare: () => P, work: (prepared: P) => T): T {
  let tookMs = 0;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const prepared = prepare();
    const before = process.threadCpuUsage();
    const result = work(prepared);
    const { user, system } = process.threadCpuUsage(before);
    tookMs = (user + system) / 1000;
    if (tookMs < limitMs) return result;
  }
  return assert.fail(`${what} took ${tookMs.toFixed(1)} ms`);
}
