import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FOLDERS = ['src', 'docs', 'deploy', 'scripts', 'proto', 'test'];
/** Kiam's own words, and this list. */
const EXEMPT = ['test/conformance/recorded/', 'test/unit/words.test.ts'];

/**
 * Words that a reader stumbles over, and the ordinary ones. Brackets keep a search for the first two from finding this list; quoted
 * words, such as `'anew'`, are names in code.
 */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/\bm[e]nd(?:s|ed|ing)?\b/i, 'fix'],
  [/\btrying o[n]\b/i, 'retrying'],
  [/\b(?:to|not|can|could|cannot|may) be had\b/i, 'available'],
  [/(?<!['`"\w])\banew\b(?!['`":])/, 'again'],
  [/\bunder way\b/i, 'in progress'],
  [/\blately\b/i, 'recently'],
  [/\bat hand\b/i, 'available'],
  [/\bin the place of\b/i, 'in place of'],
  [/\bsees to it\b/i, 'makes sure'],
  [/\bSPEC \d/, 'docs/specification.md, and the section'],
  [/\b(?:is|are) led\b/i, 'is redirected'],
];

test('Nothing that a person reads uses a word of the list', async () => {
  const found: string[] = [];
  for (const file of await readableFiles()) {
    const lines = (await readFile(ROOT + file, 'utf8')).split('\n');
    for (const [index, line] of lines.entries()) {
      for (const [word, ordinary] of WORDS) {
        if (word.test(line)) found.push(`${file}:${index + 1}: ${word.exec(line)?.[0]}, for ${ordinary}`);
      }
    }
  }
  assert.deepEqual(found, []);
});

async function readableFiles(): Promise<string[]> {
  const entries = await Promise.all(
    FOLDERS.map((folder) => readdir(ROOT + folder, { recursive: true, withFileTypes: true })),
  );
  const files = entries
    .flat()
    .filter((entry) => entry.isFile() && /\.(?:ts|mjs|md|yaml|proto|tpl|json)$/.test(entry.name));
  const paths = files.map(({ parentPath, name }) => relative(ROOT, `${parentPath}/${name}`));
  return ['README.md', 'CHANGELOG.md', ...paths].filter((path) => !EXEMPT.some((exempt) => path.startsWith(exempt)));
}
