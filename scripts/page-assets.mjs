// Puts the files of the status page together: its program as one script, beside its markup, its style and its icon. They end up
// as text in the server's bundle; from the sources, the server calls this when somebody opens the page.
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'src', 'page', 'client');

/** By path: `{ type, text }`. */
export async function pageAssets() {
  const [script, style] = await Promise.all([bundle('main.ts'), bundle('page.css')]);
  return {
    '/': { type: 'text/html; charset=utf-8', text: await readFile(join(folder, 'index.html'), 'utf8') },
    '/page.js': { type: 'text/javascript; charset=utf-8', text: script },
    '/page.css': { type: 'text/css; charset=utf-8', text: style },
    '/icon.svg': { type: 'image/svg+xml', text: await readFile(join(folder, 'icon.svg'), 'utf8') },
  };
}

async function bundle(file) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [join(folder, file)],
    bundle: true,
    write: false,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: ['chrome120', 'firefox120', 'safari17'],
    charset: 'ascii',
    legalComments: 'none',
    external: ['/icon.svg'],
    logLevel: 'warning',
  });
  return outputFiles[0].text;
}
