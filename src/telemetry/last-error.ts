import type { Clock } from '#runtime/clock.ts';

import type { Fields, Logger } from './logger.ts';

interface Remembered {
  readonly text: string;
  /** In milliseconds since the epoch. */
  readonly atMs: number;
}

/**
 * A logger that writes as the given one does, and remembers the last warning or error: its message, and why, where it says so.
 */
export function rememberErrors(
  logger: Logger,
  clock: Pick<Clock, 'now'>,
): { readonly logger: Logger; readonly lastError: () => Remembered | undefined } {
  let last: Remembered | undefined;
  const remembering =
    (level: 'warn' | 'error') =>
    (message: string, fields?: Fields): void => {
      const why = fields?.['error'] ?? fields?.['reason'];
      last = {
        text: why === undefined ? message : `${message}: ${why instanceof Error ? why.message : String(why)}`,
        atMs: clock.now(),
      };
      logger[level](message, fields);
    };
  return {
    logger: { ...logger, warn: remembering('warn'), error: remembering('error') },
    lastError: () => last,
  };
}
