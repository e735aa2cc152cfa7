// Installs the locked dependencies when they are not there yet, before any npm script that needs them.
// It runs under whatever Node started npm (20 or later); the scripts after it run under the Node 24 that the
// lockfile brings, because npm puts node_modules/.bin first on their PATH.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamp = join(root, 'node_modules', '.kiam-setup');
const hash = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .digest('hex');

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== hash) {
  console.error('installing the locked dependencies (npm ci) ...');
  const npm = process.env.npm_execpath;
  // No package of ours needs its install script, so none runs.
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = npm
    ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: ['ignore', 2, 2] })
    : spawnSync('npm', args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.status !== 0) {
    console.error('npm ci failed: nothing was started');
    process.exit(1);
  }
  writeFileSync(stamp, hash);
}

const bundled = existsSync(join(root, 'node_modules', '.bin', 'node'));
if (!bundled && Number(process.versions.node.split('.')[0]) < 24) {
  console.error(
    `Node 24 or later is needed: this is ${process.version}, and no Node for ${process.platform}-${process.arch} is among the dependencies`,
  );
  process.exit(1);
}
