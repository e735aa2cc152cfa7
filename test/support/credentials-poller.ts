import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { startChild } from '#sandbox/child.ts';

export interface PollReport {
  asked: number;
  /** How often the credentials with each key were the answer. */
  readonly keys: Record<string, number>;
  /** Attempts without credentials: refused, too late, or another status. */
  readonly failures: { readonly atMs: number; readonly how: string }[];
  /** The longest time from one answer to the next. */
  longestGapMs: number;
}

/** A pod that asks for its credentials all the time, forty times a second at most. */
export interface CredentialsPoller {
  report(): Promise<PollReport>;
  stop(): Promise<void>;
}

/** Starts asking behind a command prefix, such as `ip netns exec <namespace>`. */
export function startCredentialsPoller(exec: readonly string[]): CredentialsPoller {
  const program = fileURLToPath(new URL('credentials-poller-process.ts', import.meta.url));
  const child = startChild({
    name: 'poller',
    argv: [...exec, process.execPath, program],
    environment: { PATH: process.env['PATH'] ?? '' },
    channel: true,
  });
  return {
    report: async () => {
      const answer = once(child.process, 'message', { signal: AbortSignal.timeout(10_000) });
      child.process.send('report');
      const [report] = (await answer) as [PollReport];
      return report;
    },
    stop: async () => {
      await child.stop('SIGKILL');
    },
  };
}
