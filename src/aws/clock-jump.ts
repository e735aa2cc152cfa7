import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

/** Clocks drift by less than this between two readings: more is a jump. */
const JUMP_MS = 30_000;

/**
 * Returns a function that says whether the wall clock has jumped since the last call, because it was set or the machine slept.
 */
export function createJumpWatch(clock: Clock, logger: Logger): () => boolean {
  let apartMs = clock.now() - clock.monotonic();
  return () => {
    const nowApartMs = clock.now() - clock.monotonic();
    const jumpMs = nowApartMs - apartMs;
    apartMs = nowApartMs;
    if (Math.abs(jumpMs) < JUMP_MS) return false;
    logger.warn('the wall clock jumped', { 'jump.seconds': Math.round(jumpMs / 1000) });
    return true;
  };
}
