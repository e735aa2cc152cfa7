import { rmSync, writeFileSync } from 'node:fs';

import type { Daemon } from './daemon.ts';

/**
 * `--started-file`: a file that is there from when the agent answers pods until it ends, for a probe that must not be answered
 * by the agent that this one replaces: both listen on the same port of the node. `''` is none.
 */
export function startedFile(path: string, { logger, shutdown }: Daemon): { write(): void } {
  if (path === '') return { write: () => {} };
  // A container that is started again finds what the one before has left.
  rmSync(path, { force: true });
  shutdown.add({ name: 'started file', limitMs: 1000, close: async () => rmSync(path, { force: true }) });
  return {
    write: () => {
      try {
        writeFileSync(path, '');
      } catch (error) {
        logger.error('the started file cannot be written', { path, error: String(error) });
      }
    },
  };
}
