import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { kiamVersion } from '#bin/version.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const TAGGED = /kiam-(?:agent|server|kube2iam):(\d+\.[\w.-]+)|\.image\.tag=([\w.-]+)|^(?:appVersion|version): (\S+)/gm;

test('Manifests, chart and pages name the images of the version that package.json has', async () => {
  const wrong: string[] = [];
  let right = 0;
  for (const folder of ['deploy', 'docs']) {
    for (const entry of await readdir(ROOT + folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const text = await readFile(`${entry.parentPath}/${entry.name}`, 'utf8');
      for (const [found, ...versions] of text.matchAll(TAGGED)) {
        if (versions.includes(kiamVersion())) right += 1;
        else wrong.push(`${entry.name}: ${found}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(right > 10);
});
