import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** Installed once per version, beside what npm installs; nothing but tests looks there. */
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/kiam-tests/', import.meta.url));

export const INSTALL_LIMIT_MS = 300_000;

/** A folder that is filled once: one that is there is complete. */
export async function installed(name: string, fill: (into: string) => Promise<void>): Promise<string> {
  const folder = join(CACHE, name);
  if (existsSync(folder)) return folder;
  const making = `${folder}.${process.pid}`;
  await mkdir(making, { recursive: true });
  try {
    await fill(making);
    await rename(making, folder);
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return folder;
}

export interface PythonPackages {
  /** The interpreter itself: a version manager's wrapper would want its own environment. */
  readonly python: string;
  /** What the interpreter needs to find them. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Packages of PyPI, given with their versions. Rejects where there is no Python 3 with pip, or nothing can be downloaded. */
export async function pythonPackages(packages: readonly string[]): Promise<PythonPackages> {
  const run = promisify(execFile);
  const { stdout } = await run('python3', ['-c', 'import sys; print(sys.executable)']);
  const python = stdout.trim();
  const folder = await installed(packages.join('-').replace(/[^\w.=-]/g, '_'), async (into) => {
    const flags = ['--quiet', '--disable-pip-version-check', '--no-input', '--target', into];
    await run(python, ['-m', 'pip', 'install', ...flags, ...packages], { timeout: INSTALL_LIMIT_MS });
  });
  return { python, environment: { PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' } };
}
