import { spawn } from 'node:child_process';

import type { Clock } from '#runtime/clock.ts';
import { oneLine, shortened } from '#runtime/text.ts';

/** The result of a command. Its output is cut to what is kept; `truncated` says that there was more. */
export type CommandOutcome =
  | {
      readonly kind: 'exited';
      readonly exitCode: number;
      readonly stdout: string;
      readonly stderr: string;
      readonly truncated: boolean;
    }
  | { readonly kind: 'not found' }
  | { readonly kind: 'timed out' }
  | { readonly kind: 'aborted' }
  | { readonly kind: 'failed'; readonly reason: string };

export interface CommandOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** What the command reads from its standard input; nothing by default. */
  readonly input?: string;
}

/** Runs a command and waits for it, at most its time-out and never beyond an abort. Never rejects. */
export type RunCommand = (command: string, args: readonly string[], options: CommandOptions) => Promise<CommandOutcome>;

export interface CommandRunnerOptions {
  readonly clock: Clock;
  /** Words that go before each command, such as `ip netns exec <namespace>`. Default none. */
  readonly prefix?: readonly string[];
  /** The commands' environment. Default: a minimal one, so that commands do not inherit the agent's. */
  readonly environment?: Readonly<Record<string, string>>;
}

const PLAIN_ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/** Tables of ten thousand services come to some 8 MiB; what the agent reads of them is a few lines. */
const LONGEST_OUTPUT = 4 * 1024 * 1024;

/**
 * Makes a runner: no shell, bounded output, and SIGKILL for what takes too long (iptables changes its tables at once or not at
 * all).
 */
export function createCommandRunner({
  clock,
  prefix = [],
  environment = PLAIN_ENVIRONMENT,
}: CommandRunnerOptions): RunCommand {
  return (command, args, options) => {
    const [program = command, ...rest] = [...prefix, command, ...args];
    return runProgram(program, rest, { ...options, clock, environment });
  };
}

/** What was killed and has not ended after this long hangs in the kernel. */
const LONGEST_END_MS = 1000;

function runProgram(
  program: string,
  args: readonly string[],
  {
    clock,
    environment,
    timeoutMs,
    signal,
    input = '',
  }: CommandOptions & Required<Omit<CommandRunnerOptions, 'prefix'>>,
): Promise<CommandOutcome> {
  if (signal.aborted) return Promise.resolve({ kind: 'aborted' });
  return new Promise((resolve) => {
    const child = spawn(program, args, { env: environment, stdio: ['pipe', 'pipe', 'pipe'] });
    const stdout = collect();
    const stderr = collect();
    const finish = (outcome: CommandOutcome): void => {
      cancelTimer();
      signal.removeEventListener('abort', abort);
      resolve(outcome);
    };
    let givenUp: CommandOutcome | undefined;
    // Until it has ended it may still change something; the next check must see the final state.
    const giveUp = (outcome: CommandOutcome): void => {
      if (givenUp !== undefined) return;
      givenUp = outcome;
      cancelTimer();
      cancelTimer = clock.after(LONGEST_END_MS, () => finish(outcome));
      child.kill('SIGKILL');
    };
    const abort = (): void => giveUp({ kind: 'aborted' });
    let cancelTimer = clock.after(timeoutMs, () => giveUp({ kind: 'timed out' }));
    signal.addEventListener('abort', abort, { once: true });
    child.on('error', (error: NodeJS.ErrnoException) => {
      finish(error.code === 'ENOENT' ? { kind: 'not found' } : { kind: 'failed', reason: error.message });
    });
    child.on('exit', () => {
      if (givenUp !== undefined) finish(givenUp);
    });
    child.on('close', (code, killedBy) => {
      if (givenUp !== undefined) return finish(givenUp);
      if (code === null) return finish({ kind: 'failed', reason: `it was ended by ${killedBy ?? 'a signal'}` });
      // What `ip netns exec` says of a command that is missing.
      if (code === 255 && stderr.text().startsWith('exec of ')) return finish({ kind: 'not found' });
      const truncated = stdout.truncated() || stderr.truncated();
      finish({ kind: 'exited', exitCode: code, stdout: stdout.text(), stderr: stderr.text(), truncated });
    });
    child.stdout.on('data', (chunk: Buffer) => stdout.add(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.add(chunk));
    // A command that ends without reading its input closes the pipe; its exit code says the rest.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

/**
 * Runs a command that continues until the signal aborts, and hands over its lines as they come. Resolves when it has ended,
 * with true where it could be run at all; never rejects.
 */
export type FollowCommand = (
  command: string,
  args: readonly string[],
  options: { readonly signal: AbortSignal; readonly onLine: (line: string) => void },
) => Promise<boolean>;

/** Lines longer than this are cut: what is looked for is at their beginning. */
const LONGEST_LINE = 1024;

/** Makes a follower: as the runner, no shell and a plain environment. */
export function createCommandFollower({
  prefix = [],
  environment = PLAIN_ENVIRONMENT,
}: Omit<CommandRunnerOptions, 'clock'>): FollowCommand {
  return (command, args, { signal, onLine }) => {
    if (signal.aborted) return Promise.resolve(true);
    const [program = command, ...rest] = [...prefix, command, ...args];
    return new Promise((resolve) => {
      const child = spawn(program, rest, { env: environment, stdio: ['ignore', 'pipe', 'ignore'] });
      const abort = (): void => {
        child.kill('SIGKILL');
      };
      const finish = (hasRun: boolean): void => {
        signal.removeEventListener('abort', abort);
        resolve(hasRun);
      };
      signal.addEventListener('abort', abort, { once: true });
      let line = '';
      child.stdout.setEncoding('utf8');
      child.stdout.on('data', (text: string) => {
        const [first = '', ...others] = text.split('\n');
        line = (line + first).slice(0, LONGEST_LINE);
        for (const next of others) {
          onLine(line);
          line = next.slice(0, LONGEST_LINE);
        }
      });
      child.on('error', () => finish(false));
      child.on('close', () => finish(true));
    });
  };
}

/** Keeps the beginning of a stream and discards the rest, so that the command never blocks. */
function collect(): { add(chunk: Buffer): void; text(): string; truncated(): boolean } {
  const chunks: Buffer[] = [];
  let length = 0;
  return {
    add: (chunk) => {
      if (length < LONGEST_OUTPUT) chunks.push(chunk.subarray(0, LONGEST_OUTPUT - length));
      length += chunk.length;
    },
    text: () => Buffer.concat(chunks).toString('utf8'),
    truncated: () => length > LONGEST_OUTPUT,
  };
}

/** One line, of bounded length, that says why a command did not do what it should. */
export function explainOutcome(command: string, outcome: CommandOutcome): string {
  if (outcome.kind === 'not found') return `${command} is not installed`;
  if (outcome.kind === 'timed out') return `${command} took too long`;
  if (outcome.kind === 'aborted') return `${command} was given up`;
  if (outcome.kind === 'failed') return `${command} could not be run: ${explained(outcome.reason)}`;
  // iptables-nft begins with a remark when there are rules of the other kind as well.
  const said = outcome.stderr.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return `${command} failed with exit code ${outcome.exitCode}: ${explained(said.join('; '))}`;
}

const LONGEST_EXPLANATION = 300;

/** A text from another program, as one line of bounded length. */
export function explained(text: string): string {
  return shortened(oneLine(text).trim(), LONGEST_EXPLANATION, '...');
}
