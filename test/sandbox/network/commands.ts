import { execFile, spawnSync } from 'node:child_process';

/** What became of a command: its output, or one line that says what went wrong. */
export type CommandOutcome =
  | { readonly ok: true; readonly output: string }
  | { readonly ok: false; readonly reason: string };

/** Nothing here takes longer than some milliseconds; a command that hangs must not hang the sandbox. */
const TIMEOUT_MS = 10_000;

/** A plain environment: the caller's may hold credentials, and its PATH may lack the directories of system tools. */
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/** Runs a command without a shell, with `input` on its standard input. Never rejects. */
export function runCommand(argv: readonly string[], input = ''): Promise<CommandOutcome> {
  const [command = '', ...args] = argv;
  return new Promise((resolve) => {
    const child = execFile(command, args, { timeout: TIMEOUT_MS, env: ENVIRONMENT }, (error, stdout, stderr) => {
      resolve(error === null ? { ok: true, output: stdout } : { ok: false, reason: explain(argv, stderr, error) });
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/** The same while the process is exiting, when nothing asynchronous runs any more. */
export function runCommandSync(argv: readonly string[], input = ''): CommandOutcome {
  const [command = '', ...args] = argv;
  const child = spawnSync(command, args, { timeout: TIMEOUT_MS, env: ENVIRONMENT, encoding: 'utf8', input });
  if (child.error === undefined && child.status === 0) return { ok: true, output: child.stdout };
  return { ok: false, reason: explain(argv, child.stderr ?? '', child.error) };
}

function explain(argv: readonly string[], stderr: string, error: Error | undefined): string {
  const said = stderr.trim() === '' ? (error?.message ?? 'it failed') : stderr.trim();
  return `${argv.join(' ')}: ${said}`.slice(0, 500);
}
