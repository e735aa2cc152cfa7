import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Bundles {
  readonly agent: string;
  readonly server: string;
  /** The options of Node in the bundles' first line: what is compared with them runs under the same ones. */
  readonly nodeOptions: readonly string[];
  /** Whether this agent can answer from memory, without asking a server. */
  readonly hasNodeStore: boolean;
}

/** The bundles in dist/, built anew when they are missing or older than a source. */
export function buildBundles(): Bundles {
  const agent = join(ROOT, 'dist', 'kiam-agent.mjs');
  const server = join(ROOT, 'dist', 'kiam-server.mjs');
  if (Math.min(modifiedMs(agent), modifiedMs(server)) < newestSourceMs()) {
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'scripts', 'build.mjs')], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`the bundles cannot be built:\n${stderr}`);
  }
  const text = readFileSync(agent, 'utf8');
  const firstLine = text.slice(0, text.indexOf('\n'));
  return {
    agent,
    server,
    nodeOptions: firstLine.split(' ').filter((word) => word.startsWith('--')),
    hasNodeStore: readFileSync(join(ROOT, 'dist', 'kiam-agent.metafile.json'), 'utf8').includes('src/agent/node'),
  };
}

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function newestSourceMs(): number {
  const files = ['package-lock.json', 'scripts/build.mjs', ...sources('src'), ...sources('proto')];
  return Math.max(...files.map((file) => modifiedMs(join(ROOT, file))));
}

function sources(folder: string): string[] {
  const entries = readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath.slice(ROOT.length), entry.name));
}
