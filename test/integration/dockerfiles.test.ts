import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Names of processors, and the ways of a Dockerfile to tell one from another. */
const PROCESSOR = /amd64|x86|x64|arm64|aarch64|--platform|TARGETARCH|BUILDARCH|dpkg --print-architecture|uname/i;

const STAGES = {
  agent: ['${BASE} AS build', '${BASE} AS tools', 'tools AS kube2iam', 'tools'],
  server: ['${BASE} AS build', '${BASE}'],
};
const BUNDLES = { agent: ['kube2iam', 'agent'], server: ['server'] };

for (const part of ['agent', 'server'] as const) {
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
      assert.deepEqual(
        named('FROM'),
        STAGES[part].map((stage) => `FROM ${stage}`),
      );
    });

    it(`Dockerfile.${part} takes nothing from the build but the bundle and its bill of materials`, () => {
      assert.deepEqual(
        named('COPY').filter((step) => step.includes('--from')),
        BUNDLES[part].map(
          (name) =>
            `COPY --from=build /build/dist/kiam-${name}.mjs /build/dist/kiam-${name}.sbom.json /usr/local/lib/kiam/`,
        ),
      );
    });
  });
}

it("the image that takes kube2iam's place takes its arguments: the entry point is the program, without a command", async () => {
  const text = await readFile(`${ROOT}Dockerfile.agent`, 'utf8');
  const [stage = ''] = /FROM tools AS kube2iam\n[^]*?(?=\nFROM )/.exec(text) ?? [];
  assert.match(stage, /^ENTRYPOINT \["kube2iam"\]$/m);
  assert.match(stage, /^RUN ln -s \/usr\/local\/lib\/kiam\/kiam-kube2iam\.mjs \/bin\/kube2iam$/m);
});
