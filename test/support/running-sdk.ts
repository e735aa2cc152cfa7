import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import type { World } from '#sandbox/world.ts';

import type { SdkProgram } from './sdk-programs.ts';

export interface Said {
  readonly arn?: string;
  readonly error?: string;
  readonly tookMs: number;
}

export interface RunningSdk {
  /** What it says at its start. */
  said(): Promise<Said>;
  /** The same with credentials fetched again; a command is run again. */
  again(): Promise<Said>;
}

/** A test, or whoever else ends what was started. */
export interface Ending {
  after(end: () => void): void;
}

/** Starts it behind the words that put it in a pod's place. */
export async function startSdk(
  t: Ending,
  { world, podExec }: { readonly world: World; readonly podExec: readonly string[] },
  sdk: SdkProgram,
  more: Readonly<Record<string, string>> = {},
): Promise<RunningSdk> {
  const { clean, sts } = world.environment;
  const environment = { ...clean, ...sts, AWS_DEFAULT_REGION: world.region, ...sdk.environment, ...more };
  const [command = '', ...args] = [...podExec, ...sdk.argv];
  if (sdk.isCommand === true) {
    const once = (): Promise<Said> => runCommand(command, args, environment);
    return { said: once, again: once };
  }
  const child = spawn(command, args, { env: environment, stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => void child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const said = async (): Promise<Said> => {
    const line = await lines.next();
    assert.equal(line.done, false, `${sdk.name} ended`);
    return JSON.parse(line.value) as Said;
  };
  return {
    said,
    again: () => {
      child.stdin.write('\n');
      return said();
    },
  };
}

/** Its time includes that of its start. */
async function runCommand(command: string, args: readonly string[], env: Record<string, string>): Promise<Said> {
  const startedMs = performance.now();
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  }
  const [code] = await once(child, 'close');
  const tookMs = performance.now() - startedMs;
  return code === 0 ? { arn: text.trim(), tookMs } : { error: text.trim(), tookMs };
}
