import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Names of processors, and the ways of a Dockerfile to tell one from another. */
const PROCESSOR = /amd64|x86|x64|arm64|aarch64|--platform|TARGETARCH|BUILDARCH|dpkg --print-architecture|uname/i;

for (const part of ['agent', 'server']) {
  describe(`Dockerfile.${part}`, async () => {
    const text = await readFile(`${ROOT}Dockerfile.${part}`, 'utf8');
    const steps = text
      .replaceAll(/^#.*\n/gm, '')
      .replaceAll('\\\n', ' ')
      .split('\n')
      .filter((line) => line !== '');
    const named = (instruction: string): string[] => steps.filter((step) => step.startsWith(`${instruction} `));

    it(`Dockerfile.${part} is the same for every processor: its base is the official image of Node, which exists for each`, () => {
      assert.doesNotMatch(text, PROCESSOR);
      assert.deepEqual(named('ARG'), ['ARG BASE=node:24-trixie-slim']);
      assert.deepEqual(named('FROM'), [`FROM \${BASE} AS build`, `FROM \${BASE}`]);
    });

    it(`Dockerfile.${part} takes nothing from the build but the bundle and its bill of materials`, () => {
      assert.deepEqual(
        named('COPY').filter((step) => step.includes('--from')),
        [`COPY --from=build /build/dist/kiam-${part}.mjs /build/dist/kiam-${part}.sbom.json /usr/local/lib/kiam/`],
      );
    });
  });
}
