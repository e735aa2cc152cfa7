// Bundles the two daemons into one file each, which runs under Node 24 without node_modules, on any processor; beside each
// stand its bill of materials and esbuild's account of it (https://esbuild.github.io/api/#metafile).
// Usage: node scripts/build.mjs [folder]     (the folder is dist/ unless given)
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { billOfMaterials } from './sbom.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = process.argv[2] ?? join(root, 'dist');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

// The options of Node that the program needs, whoever starts it: the CA certificates that a manifest mounts from the host
// count, SIGUSR1 opens no debugger in the host's network, and the young generation stays small (memory at rest).
const SHEBANG = '#!/usr/bin/env -S node --use-system-ca --disable-sigusr1 --max-semi-space-size=1';

// Some packages inside are CommonJS and ask for node's own modules by `require`, which an ES module does not have.
const REQUIRE =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

mkdirSync(folder, { recursive: true });
for (const name of ['kiam-agent', 'kiam-server']) {
  const outfile = join(folder, `${name}.mjs`);
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [`src/bin/${name}.ts`],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    // Identifiers stay readable: stack traces and CPU profiles are read by people.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'eof',
    metafile: true,
    define: {
      KIAM_PROTO: JSON.stringify(readFileSync(join(root, 'proto', 'kiam.proto'), 'utf8')),
      KIAM_VERSION: JSON.stringify(version),
    },
    banner: { js: `${SHEBANG}\n${REQUIRE}` },
    logLevel: 'warning',
  });
  chmodSync(outfile, 0o755);
  const [{ bytes, inputs }] = Object.values(metafile.outputs);
  const bill = billOfMaterials({ root, name, inputs });
  writeFileSync(join(folder, `${name}.metafile.json`), JSON.stringify(metafile));
  writeFileSync(join(folder, `${name}.sbom.json`), `${JSON.stringify(bill, null, 1)}\n`);
  const size = `${Math.round(bytes / 1024)} KiB from ${Object.keys(metafile.inputs).length} files`;
  console.log(`${outfile}: ${size} and ${bill.components.length} packages`);
}
