import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Bundle {
  readonly file: string;
  /** Node with the options and the environment of the bundle's first line: what is compared with it is run by the same. */
  readonly node: readonly string[];
}

export interface Bundles {
  readonly agent: Bundle;
  readonly server: Bundle;
  readonly kube2iam: Bundle;
  /** Whether this agent can answer from memory, without asking a server. */
  readonly hasNodeStore: boolean;
}

/** The bundles in dist/, built again when they are missing or older than a source. */
export function buildBundles(): Bundles {
  const agent = join(ROOT, 'dist', 'kiam-agent.mjs');
  const server = join(ROOT, 'dist', 'kiam-server.mjs');
  const kube2iam = join(ROOT, 'dist', 'kiam-kube2iam.mjs');
  if (Math.min(...[agent, server, kube2iam].map(modifiedMs)) < newestSourceMs()) {
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'scripts', 'build.mjs')], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`the bundles cannot be built:\n${stderr}`);
  }
  return {
    agent: bundleOf(agent),
    server: bundleOf(server),
    kube2iam: bundleOf(kube2iam),
    hasNodeStore: readFileSync(join(ROOT, 'dist', 'kiam-agent.metafile.json'), 'utf8').includes('src/agent/node'),
  };
}

function bundleOf(file: string): Bundle {
  const [firstLine = ''] = readFileSync(file, 'utf8').split('\n', 1);
  const words = firstLine.split(' ').slice(2);
  return { file, node: ['/usr/bin/env', ...words.map((word) => (word === 'node' ? process.execPath : word))] };
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
