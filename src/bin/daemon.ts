import { type Clock, systemClock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import { Shutdown } from '#runtime/shutdown.ts';
import { createLogger, type Logger, type ProcessLogger } from '#telemetry/logger.ts';

import type { FlagsOf } from './flags/option.ts';
import type { LOG_OPTIONS } from './flags/table.ts';
import { logForeignLines } from './foreign-lines.ts';

/** The clock, the logger and the shutdown of a daemon. */
export interface Daemon {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Every part that has to be closed is added; its signal ends loops and waits. */
  readonly shutdown: Shutdown;
}

/** Starts the daemon. Resolves once it runs; what it started stops at the shutdown's signal. */
export type StartDaemon = (daemon: Daemon) => Promise<void>;

/**
 * Runs a daemon in this process until SIGTERM or SIGINT, then closes it in order and exits 0; a second signal exits at once.
 * A defect, which is an exception or rejection that nobody handles, is logged once and exits 1.
 */
export function runDaemon(
  name: string,
  { jsonLog, level }: FlagsOf<typeof LOG_OPTIONS>,
  warnings: readonly string[],
  start: StartDaemon,
): void {
  const logger = createLogger({ json: jsonLog, level });
  const shutdown = new Shutdown(systemClock);
  // A timer of the clock never keeps the process alive; this does, until it exits.
  setInterval(() => {}, 0x7fffffff);
  logForeignLines(logger);
  exitOnDefect(logger);
  stopOnSignal(logger, shutdown);
  for (const warning of warnings) logger.warn(warning);
  logger.info('starting', { daemon: name, pid: process.pid, node: process.version });
  start({ clock: systemClock, logger, shutdown }).catch((error: unknown) => {
    // What a daemon cannot live without is missing: a configuration that cannot be read, an address that is not ours.
    if (shutdown.signal.aborted) return;
    logger.fatal('the daemon cannot start', { error: describeError(error) });
    process.exit(1);
  });
}

function exitOnDefect(logger: ProcessLogger): void {
  const exit = (kind: string) => (error: unknown) => {
    const place = error instanceof Error ? error.stack?.split('\n').slice(1, 4).join(' ').trim() : undefined;
    logger.fatal('unexpected error: the daemon exits', {
      kind,
      error: describeError(error),
      place,
    });
    process.exit(1);
  };
  process.on('uncaughtException', exit('exception'));
  process.on('unhandledRejection', exit('rejection'));
}

function stopOnSignal(logger: ProcessLogger, shutdown: Shutdown): void {
  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) {
      logger.warn('stopping at once', { signal });
      process.exit(1);
    }
    stopping = true;
    logger.info('stopping', { signal });
    void shutdown
      .run(({ name, outcome, durationMs, error }) => {
        const fields = {
          part: name,
          duration: Math.round(durationMs),
          error: error instanceof Error ? error : undefined,
        };
        if (outcome === 'closed') logger.debug('closed', fields);
        else logger.warn(outcome === 'failed' ? 'closing failed' : 'closing took too long', fields);
      })
      .then(() => {
        logger.info('stopped');
        process.exit(0);
      });
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}
