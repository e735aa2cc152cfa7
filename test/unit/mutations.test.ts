import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { MUTATIONS } from '../mutation/mutations.ts';

test('each fault of npm run mutate can be made: what it replaces stands in its file once', async () => {
  for (const { file, from, what } of MUTATIONS) {
    const text = await readFile(new URL(`../../${file}`, import.meta.url), 'utf8');
    assert.equal(text.split(from).length, 2, `${file}: ${what}`);
  }
});
