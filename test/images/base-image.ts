import { execFile } from 'node:child_process';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { installed } from '../support/installed.ts';
import { AUTHORITIES_INSIDE } from './image-store.ts';

const run = promisify(execFile);
const LIMIT_MS = 400_000;

/** The release that the Dockerfiles' base has in its name, and an npm that Node 24 comes with. */
const RELEASE = 'trixie';
const NPM = 'npm@11.6.2';

/**
 * What the Dockerfiles' FROM names, made of Debian's packages, of this process's Node, and of npm's own package; an archive
 * of its files. It stands in for the official image where tests may ask no registry of images.
 */
export async function baseImageArchive(): Promise<string> {
  const folder = await installed(`base-image-${RELEASE}-${NPM}-node-${process.version}`, async (into) => {
    const root = join(into, 'root');
    await run('debootstrap', ['--variant=minbase', RELEASE, root], { timeout: LIMIT_MS, maxBuffer: 64 << 20 });
    await empty(root, 'var/cache/apt/archives', 'var/lib/apt/lists');
    const flags = ['--global', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    await run('npm', ['install', '--prefix', join(root, 'usr/local'), ...flags, NPM], { timeout: LIMIT_MS });
    await copyFile(process.execPath, join(root, 'usr/local/bin/node'));
    await mkdir(join(root, 'usr/local/etc'), { recursive: true });
    await writeFile(join(root, 'usr/local/etc/npmrc'), `cafile=${AUTHORITIES_INSIDE}\n`);
    // As the images of Debian have it: what is installed later leaves no packages behind.
    await writeFile(
      join(root, 'etc/apt/apt.conf.d/docker-clean'),
      'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };\nDir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n',
    );
    await run('tar', ['--create', '--file', join(into, 'root.tar'), '--directory', root, '.']);
    await rm(root, { recursive: true });
  });
  return join(folder, 'root.tar');
}

async function empty(root: string, ...folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    await rm(join(root, folder), { recursive: true, force: true });
    await mkdir(join(root, folder), { recursive: true });
  }
}
