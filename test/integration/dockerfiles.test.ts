import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Names of processors, and the ways of a Dockerfile to tell one from another. */
const PROCESSOR = /amd64|x86|x64|arm64|aarch64|--platform|TARGETARCH|BUILDARCH|dpkg --print-architecture|uname/i;

const STAGES = {
  agent: ['${BASE} AS build', '${BASE} AS node', 'node AS tools', 'scratch AS base', 'base AS kube2iam', 'base'],
  server: ['${BASE} AS build', '${BASE} AS node', 'scratch'],
};
const TOOLS = { agent: ['COPY --from=tools /tools /'], server: [] };
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

    it(`Dockerfile.${part} takes nothing from the build but the bundle, its bill of materials, the licence and a link`, () => {
      assert.deepEqual(
        named('COPY').filter((step) => step.includes('--from')),
        [
          'COPY --from=node /node /',
          ...TOOLS[part],
          ...BUNDLES[part].map((name) => `COPY --from=build /build/${name} /`),
        ],
      );
      for (const name of BUNDLES[part]) {
        const files = `dist/kiam-${name}.mjs dist/kiam-${name}.sbom.json`;
        assert.ok(text.includes(`cp ${files} ${name}/usr/local/lib/kiam/`), name);
        assert.ok(text.includes(`ln -s /usr/local/lib/kiam/kiam-${name}.mjs ${name}/`), name);
      }
    });

    it(`Dockerfile.${part} runs nothing in the stages that images are made of, which have no shell`, () => {
      const scratch = steps.slice(steps.findIndex((step) => step.startsWith('FROM scratch')));
      assert.deepEqual(
        scratch.filter((step) => step.startsWith('RUN ')),
        [],
      );
    });
  });
}

it('both images have the same layer with Node, so that a node pulls it once', async () => {
  const stages = await Promise.all(
    ['agent', 'server'].map(async (part) => {
      const text = await readFile(`${ROOT}Dockerfile.${part}`, 'utf8');
      return /^FROM \$\{BASE\} AS node\n[^]*?\n\n/m.exec(text)?.[0];
    }),
  );
  assert.ok(stages[0] !== undefined);
  assert.equal(stages[0], stages[1]);
});

it("the image that takes kube2iam's place takes its arguments: the entry point is the program, without a command", async () => {
  const text = await readFile(`${ROOT}Dockerfile.agent`, 'utf8');
  const [stage = ''] = /FROM base AS kube2iam\n[^]*?(?=\nFROM )/.exec(text) ?? [];
  assert.match(stage, /^ENTRYPOINT \["kube2iam"\]$/m);
  assert.match(text, /ln -s \S+\/kiam-kube2iam\.mjs kube2iam\/usr\/bin\/kube2iam$/m);
});
