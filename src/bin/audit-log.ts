import { writeSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';

import { type AuditLog, createAuditLog } from '#agent/audit-log.ts';
import type { Clock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import type { Logger } from '#telemetry/logger.ts';
import { createStandardErrorWriter } from '#telemetry/standard-error.ts';

/** `off`, `-` for standard output, or a file. */
export type AuditTarget = string;

/** At most this many lines wait for a slow disk. Lines beyond that are dropped, and the log says how many. */
const MOST_WAITING = 10_000;

const STANDARD_OUTPUT = 1;

/**
 * The audit log of the agent; undefined when it is off. Pods wait neither for the disk nor for the reader of standard output.
 */
export function openAuditLog(target: AuditTarget, options: { clock: Clock; logger: Logger }): AuditLog | undefined {
  if (target === 'off') return undefined;
  const write =
    target === '-'
      ? createStandardErrorWriter((_, bytes) => writeSync(STANDARD_OUTPUT, bytes))
      : createFileWriter(target, options.logger);
  return createAuditLog({ clock: options.clock, write });
}

/** Opens the file by name for each batch, so that it may be rotated at any time. Mode 0600. */
export function createFileWriter(path: string, logger: Logger): (line: string) => void {
  let waiting: string[] = [];
  let isWriting = false;
  let lost = 0;
  const lose = (lines: number, why: string): void => {
    if (lost === 0) logger.error('audit lines cannot be written', { path, error: why });
    lost += lines;
  };
  const writeAll = async (): Promise<void> => {
    isWriting = true;
    while (waiting.length > 0) {
      const lines = waiting;
      waiting = [];
      try {
        await appendFile(path, lines.join(''), { mode: 0o600 });
        if (lost > 0) logger.warn('audit lines are written again', { path, lost });
        lost = 0;
      } catch (error) {
        lose(lines.length, describeError(error));
      }
    }
    isWriting = false;
  };
  return (line) => {
    if (waiting.length >= MOST_WAITING) return lose(1, 'too many lines wait for the disk');
    waiting.push(line);
    if (!isWriting) void writeAll();
    return undefined;
  };
}
