// Bundles the programs into one file each, which runs under Node 24 without node_modules, on any processor; beside each
// stand its bill of materials and esbuild's account of it (https://esbuild.github.io/api/#metafile).
// Usage: node scripts/build.mjs [folder]     (the folder is dist/ unless given)
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { pageAssets } from './page-assets.mjs';
import { billOfMaterials } from './sbom.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = process.argv[2] ?? join(root, 'dist');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

// What the programs need of Node, whoever starts them: SIGUSR1 opens no debugger in the host's network, the young generation
// stays small, and memory from which V8's compilers have compiled goes back to the system (glibc would keep 10 MiB of it). Only
// the server trusts the host's CA certificates, which a manifest mounts: the agent's calls know one CA, that of its flag.
const COMMON = '--disable-sigusr1 --max-semi-space-size=1';
const WITH_AWS = `--use-system-ca ${COMMON}`;
const NODE_OPTIONS = {
  'kiam-agent': COMMON,
  'kiam-server': WITH_AWS,
  'kiam-kube2iam': WITH_AWS,
  'kubectl-kiam': COMMON,
};
const shebang = (name) => `#!/usr/bin/env -S MALLOC_MMAP_THRESHOLD_=16384 node ${NODE_OPTIONS[name]}`;

// Some packages inside are CommonJS and ask for node's own modules by `require`, which an ES module does not have.
const REQUIRE =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

// `import` of one of node's own modules evaluates each of its exports, also those that are made when first used: for `node:http`
// that loads a whole HTTP client, which costs 2 MiB of memory. `require` does not.
const requireBuiltins = {
  name: 'require-builtins',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^[a-z:_/]+$/ }, ({ path, kind }) =>
      kind === 'import-statement' && isBuiltin(path) ? { path, namespace: 'builtin' } : undefined,
    );
    onLoad({ filter: /^/, namespace: 'builtin' }, ({ path }) => ({ contents: `module.exports = require('${path}');` }));
  },
};

// What packages of the agent load, or carry, and it never uses, 2 MiB of memory in all: fastify compiles JSON schemas, of which no
// route has one, compares versions of plugins (semver) and answers injected requests; prom-client puts spans of OpenTelemetry
// beside exemplars; long compiles a WebAssembly module to calculate with, where it can.
const UNUSED = /^(?:@fastify\/(?:ajv|fast-json-stringify)-compiler|light-my-request|semver|@opentelemetry\/api)$/;
const leaveOut = {
  name: 'leave-out',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: UNUSED }, ({ path }) => ({ path, namespace: 'left-out' }));
    onLoad({ filter: /^/, namespace: 'left-out' }, () => ({ contents: 'module.exports = () => {};' }));
  },
};
const LEFT_OUT = { 'kiam-agent': { plugins: [leaveOut], define: { WebAssembly: 'undefined' } } };

mkdirSync(folder, { recursive: true });
// A text, so that it is in the bundle that shows the page alone.
const page = JSON.stringify(await pageAssets());
for (const name of Object.keys(NODE_OPTIONS)) {
  const outfile = join(folder, `${name}.mjs`);
  const { plugins = [], define = {} } = LEFT_OUT[name] ?? {};
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
    plugins: [requireBuiltins, ...plugins],
    define: {
      ...define,
      KIAM_PROTO: JSON.stringify(readFileSync(join(root, 'proto', 'kiam.proto'), 'utf8')),
      KIAM_VERSION: JSON.stringify(version),
      KIAM_PAGE: JSON.stringify(page),
    },
    banner: { js: `${shebang(name)}\n${REQUIRE}` },
    logLevel: 'warning',
  });
  writeFileSync(outfile, escapeBeyondAscii(readFileSync(outfile, 'utf8')));
  chmodSync(outfile, 0o755);
  const [{ bytes, inputs }] = Object.values(metafile.outputs);
  const bill = billOfMaterials({ root, name, inputs });
  writeFileSync(join(folder, `${name}.metafile.json`), JSON.stringify(metafile));
  writeFileSync(join(folder, `${name}.sbom.json`), `${JSON.stringify(bill, null, 1)}\n`);
  const size = `${Math.round(bytes / 1024)} KiB from ${Object.keys(metafile.inputs).length} files`;
  console.log(`${outfile}: ${size} and ${bill.components.length} packages`);
}

/**
 * The program's text stays in memory as long as it runs: in one byte a character where all of it is ASCII, else in two. esbuild
 * escapes strings, but neither regular expressions nor the names in licenses.
 */
function escapeBeyondAscii(text) {
  return text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
