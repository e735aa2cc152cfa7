import { type ChildProcess, spawn } from 'node:child_process';

import { type Clock, systemClock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/within.ts';

export interface ChildOptions {
  /** For messages about it. */
  readonly name: string;
  /** The program and its arguments; a prefix such as `ip netns exec NAME` may stand before. */
  readonly argv: readonly string[];
  /** All of its environment: nothing of the caller's own gets through. */
  readonly environment: Readonly<Record<string, string>>;
  /** Open a channel for messages. */
  readonly channel?: boolean;
  readonly clock?: Clock;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A program that was started, and what it has said so far. */
export interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  /** Every line of its standard output and standard error, as they came. */
  readonly lines: readonly string[];
  readonly exited: Promise<ChildExit>;
  /** Resolves with the first line, past or to come, that matches. Rejects with what it said when it exits or the time is up. */
  line(pattern: RegExp, withinMs?: number): Promise<string>;
  /** Sends a signal and waits for the end; after `limitMs` it is killed. */
  stop(signal?: NodeJS.Signals, limitMs?: number): Promise<ChildExit>;
}

/** How many of its last lines are shown when it does not do what was expected. */
const LAST_LINES = 15;

export function startChild({ name, argv, environment, channel = false, clock = systemClock }: ChildOptions): Child {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe', ...(channel ? (['ipc'] as const) : [])],
  });
  const lines: string[] = [];
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of listeners) listener();
  };
  let hasExited = false;
  const exited = new Promise<ChildExit>((resolve) => {
    const end = (code: number | null, signal: NodeJS.Signals | null): void => {
      hasExited = true;
      resolve({ code, signal });
      tell();
    };
    child.once('error', (error) => {
      lines.push(error.message);
      end(null, null);
    });
    child.once('close', end);
  });
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    followLines(stream, (text) => {
      lines.push(text);
      tell();
    });
  }

  const line = (pattern: RegExp, withinMs = 15_000): Promise<string> =>
    new Promise((resolve, reject) => {
      const deadline = startDeadline(clock, withinMs, new AbortController().signal);
      let read = 0;
      const finish = (done: () => void): void => {
        deadline.clear();
        listeners.delete(look);
        done();
      };
      const fail = (why: string): void =>
        finish(() => reject(new Error(`${name} ${why} ${pattern}:\n${lines.slice(-LAST_LINES).join('\n')}`)));
      const look = (): void => {
        for (; read < lines.length; read += 1) {
          const found = lines[read] ?? '';
          if (pattern.test(found)) return finish(() => resolve(found));
        }
        if (hasExited) fail('ended without saying');
        return undefined;
      };
      deadline.signal.addEventListener('abort', () => fail(`did not say within ${withinMs} ms`));
      listeners.add(look);
      look();
    });

  const stop = async (signal: NodeJS.Signals = 'SIGTERM', limitMs = 10_000): Promise<ChildExit> => {
    if (!hasExited) child.kill(signal);
    const cancel = clock.after(limitMs, () => child.kill('SIGKILL'));
    const exit = await exited;
    cancel();
    return exit;
  };
  return { name, process: child, lines, exited, line, stop };
}

function followLines(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) take(part);
  });
  stream.on('end', () => {
    if (rest !== '') take(rest);
  });
}
