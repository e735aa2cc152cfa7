import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { listAt, parseJsonObject, textAt } from '#sandbox/json.ts';

const BUILD = fileURLToPath(new URL('../../scripts/build.mjs', import.meta.url));

export interface Finding {
  readonly check: string;
  readonly verdict: string;
  readonly says: string;
  readonly fix: string;
}

export interface Diagnosis {
  readonly code: number | null;
  readonly findings: readonly Finding[];
  /** Everything that it printed on standard output. */
  readonly text: string;
}

/** Both programs as they are shipped: they start in a fraction of the time that their sources take. */
export interface Programs {
  readonly agent: string;
  readonly server: string;
  remove(): Promise<void>;
}

export async function buildPrograms(): Promise<Programs> {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-doctor-'));
  await promisify(execFile)(process.execPath, [BUILD, folder]);
  return {
    agent: join(folder, 'kiam-agent.mjs'),
    server: join(folder, 'kiam-server.mjs'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Runs `doctor --json` to its end. */
export async function diagnose(options: {
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Words before the program: `ip netns exec …`. */
  readonly prefix?: readonly string[];
}): Promise<Diagnosis> {
  const { program, args, environment, prefix = [] } = options;
  const [command = '', ...words] = prefix.concat(process.execPath, program, 'doctor', args, '--json');
  const { code, text } = await new Promise<Pick<Diagnosis, 'code' | 'text'>>((resolve) => {
    // The document stands on standard output alone.
    const child = execFile(command, words, { env: environment }, (_error, stdout) => {
      resolve({ code: child.exitCode, text: stdout });
    });
  });
  const findings = listAt(parseJsonObject(text), 'findings').map((finding) => ({
    check: textAt(finding, 'check'),
    verdict: textAt(finding, 'verdict'),
    says: textAt(finding, 'says'),
    fix: textAt(finding, 'fix'),
  }));
  return { code, findings, text };
}

/** `check: says` of what is wrong. */
export function wrongOf({ findings }: Pick<Diagnosis, 'findings'>): string[] {
  return findings.filter(({ verdict }) => verdict === 'wrong').map(({ check, says }) => `${check}: ${says}`);
}
