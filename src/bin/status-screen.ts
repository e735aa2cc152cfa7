import { type Clock, sleep } from '#runtime/clock.ts';
import { forTerminal } from '#runtime/text.ts';
import { statusText } from '#server/status/render.ts';
import type { ServerStatus } from '#server/status/server-status.ts';

import type { StatusFlags } from './flags/status.ts';

/** The answers of the servers, and why some gave none. */
export interface StatusAnswers {
  readonly replicas: readonly ServerStatus[];
  readonly problems: readonly string[];
}

/** Where the status is printed. */
export interface Screen {
  readonly write: (text: string) => void;
  readonly complain: (text: string) => void;
  readonly isTerminal: boolean;
  /** Whether colours are wanted, where it is a terminal. */
  readonly wantsColours: boolean;
  /** How many lines there are. */
  readonly lines: () => number;
}

const WATCH_MS = 2000;
/** Moves the cursor to the corner; the screen is overwritten in place, which does not flicker. */
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

/** Prints the status once, or every 2 seconds until `signal` aborts. Resolves with whether a server answered the last time. */
export async function showStatus(
  { json, failing, watch }: Pick<StatusFlags, 'json' | 'failing' | 'watch'>,
  {
    ask,
    screen,
    clock,
    signal,
  }: {
    readonly ask: () => Promise<StatusAnswers>;
    readonly screen: Screen;
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): Promise<boolean> {
  for (;;) {
    const { replicas, problems: told } = await ask();
    const problems = told.map(forTerminal);
    if (json) {
      // While it is watched, a document is a line.
      if (replicas.length > 0) screen.write(`${JSON.stringify({ replicas }, undefined, watch ? 0 : 2)}\n`);
    } else {
      const text =
        replicas.length === 0
          ? ''
          : statusText(replicas, { colours: screen.isTerminal && screen.wantsColours, failingOnly: failing });
      screen.write(watch && screen.isTerminal ? page(text, problems, screen.lines()) : text);
    }
    if (json || !watch || !screen.isTerminal) for (const problem of problems) screen.complain(`kiam: ${problem}\n`);
    if (!watch) return replicas.length > 0;
    await sleep(clock, WATCH_MS, signal);
    if (signal.aborted) return replicas.length > 0;
  }
}

/** The first lines, as many as the terminal has rows; problems come first, so none scrolls away. */
function page(text: string, problems: readonly string[], height: number): string {
  const lines = [...problems.map((problem) => `kiam: ${problem}`), ...text.trimEnd().split('\n')];
  const room = Math.max(1, height - 1);
  const shown =
    lines.length <= room ? lines : [...lines.slice(0, room - 1), `... ${lines.length - room + 1} more lines`];
  return HOME + shown.map((line) => `${line}${CLEAR_LINE}\n`).join('') + CLEAR_BELOW;
}

/** Standard output, which may be a terminal. */
export function processScreen(): Screen {
  const { stdout, stderr } = process;
  return {
    write: (text) => stdout.write(text),
    complain: (text) => stderr.write(text),
    isTerminal: stdout.isTTY,
    // https://no-color.org
    wantsColours: (process.env['NO_COLOR'] ?? '') === '',
    lines: () => stdout.rows,
  };
}
