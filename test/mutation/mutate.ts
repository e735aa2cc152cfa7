// Makes each fault of mutations.ts in a copy of the tree, runs the tests that must notice it, and prints what survived.
// Usage: npm run mutate -- [part of a file's name]
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { type Mutation, MUTATIONS } from './mutations.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COPIED = [
  'src',
  'test',
  'proto',
  'deploy',
  'docs',
  'scripts',
  'package.json',
  'package-lock.json',
  'README.md',
  'tsconfig.json',
];
/** A fault that makes a test run for ever is noticed too. */
const LIMIT_MS = 300_000;

const [part = ''] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'kiam-mutate-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
for (const name of COPIED) cpSync(join(ROOT, name), join(folder, name), { recursive: true, verbatimSymlinks: true });
symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));

const rooms = new Map<string, { caught: number; survived: number }>();
for (const mutation of MUTATIONS.filter(({ file }) => file.includes(part))) {
  const isCaught = notices(mutation);
  const room = dirname(mutation.file);
  const count = rooms.get(room) ?? { caught: 0, survived: 0 };
  rooms.set(room, count);
  if (isCaught) count.caught += 1;
  else count.survived += 1;
  console.log(`${isCaught ? 'caught  ' : 'SURVIVED'} ${mutation.file}: ${mutation.what}`);
}
for (const [room, { caught, survived }] of rooms) console.log(`${room}: ${caught} caught, ${survived} survived`);
const survived = [...rooms.values()].reduce((sum, room) => sum + room.survived, 0);
process.exitCode = survived === 0 ? 0 : 1;

/** Whether one of the tests fails with the fault in place. */
function notices({ file, from, to, tests }: Mutation): boolean {
  const path = join(folder, file);
  const original = readFileSync(path, 'utf8');
  if (original.split(from).length !== 2) throw new Error(`${file} does not have once: ${from}`);
  writeFileSync(
    path,
    original.replace(from, () => to),
  );
  try {
    const flags = ['--test', '--test-timeout=120000', ...tests];
    return spawnSync(process.execPath, flags, { cwd: folder, stdio: 'ignore', timeout: LIMIT_MS }).status !== 0;
  } finally {
    writeFileSync(path, original);
  }
}
