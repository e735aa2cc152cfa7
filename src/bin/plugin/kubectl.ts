import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** The result of running kubectl. */
export interface Ran {
  /** Null when it was killed, or could not be started: `problem` then says why. */
  readonly code: number | null;
  readonly output: string;
  /** What it said on standard error, or why it did not run; one line. */
  readonly problem: string;
}

export interface RunOptions {
  readonly signal: AbortSignal;
  /** Takes each line of the output as it comes; `output` is then empty. */
  readonly onLine?: (line: string) => void;
}

/** Runs kubectl with these arguments. Never rejects. */
export type Kubectl = (args: readonly string[], options: RunOptions) => Promise<Ran>;

/** Larger than any answer of Kiam: the status of 10,000 pods has 2 MiB. */
const LONGEST_OUTPUT = 64 * 1024 * 1024;
const LONGEST_PROBLEM = 2000;

/** `connection` are kubectl's own flags, which say which cluster is meant. */
export function createKubectl(program: string, connection: readonly string[]): Kubectl {
  return (args, { signal, onLine }) =>
    new Promise((resolve) => {
      const child = spawn(program, [...connection, ...args], { stdio: ['ignore', 'pipe', 'pipe'], signal });
      const chunks: Buffer[] = [];
      let size = 0;
      let problem = '';
      if (onLine !== undefined) createInterface({ input: child.stdout }).on('line', onLine);
      else {
        child.stdout.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > LONGEST_OUTPUT) child.kill();
          else chunks.push(chunk);
        });
      }
      child.stderr.on('data', (chunk: Buffer) => (problem = (problem + chunk.toString()).slice(0, LONGEST_PROBLEM)));
      child.on('error', (error: Error & { code?: string }) => {
        if (signal.aborted) problem = 'it did not answer in time';
        else if (error.code === 'ENOENT') problem = `${program} is not installed`;
        else problem = error.message;
      });
      child.on('close', (code) => {
        const isTooLong = size > LONGEST_OUTPUT;
        const why = isTooLong ? 'its answer is too long' : problem.trim().replaceAll(/\s*\n\s*/g, '; ');
        resolve({ code: isTooLong ? null : code, output: Buffer.concat(chunks).toString(), problem: why });
      });
    });
}
