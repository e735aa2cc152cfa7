import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';

const SOURCES = new URL('../../src/', import.meta.url);
const EXPORTED =
  /^export (?:declare |abstract |async )*(?:function\*?|const|let|class|interface|type|enum) (\w+)|^export (?:type )?\{([^}]*)\}/gm;

test('every exported name stands for one thing in the whole tree', async () => {
  const places = new Map<string, string[]>();
  for (const file of await readdir(SOURCES, { recursive: true })) {
    if (!file.endsWith('.ts')) continue;
    const names = namesIn(await readFile(new URL(file, SOURCES), 'utf8'));
    for (const name of names) places.set(name, [...(places.get(name) ?? []), file]);
  }
  assert.ok(places.size > 500, 'the names are found');
  const shared = [...places].filter(([, files]) => files.length > 1);
  assert.deepEqual(Object.fromEntries(shared), {});
});

/** What a module exports, each name once: a function may be declared several times for its overloads. */
function namesIn(text: string): ReadonlySet<string> {
  const names = new Set<string>();
  for (const [, declared, list = ''] of text.matchAll(EXPORTED)) {
    if (declared !== undefined) names.add(declared);
    for (const item of list.split(',')) {
      const name = item.split(' as ').at(-1)?.replace('type ', '').trim() ?? '';
      if (name !== '') names.add(name);
    }
  }
  return names;
}
