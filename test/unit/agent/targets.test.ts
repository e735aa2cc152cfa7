import assert from 'node:assert/strict';
import test from 'node:test';

import { routeOf } from '#agent/route.ts';
import { createTargets } from '#agent/targets.ts';

const RAW = '/latest/meta-data/iam/security-credentials/reader';

test('a target is understood as its canonical path, its query and its route', () => {
  const understand = createTargets(routeOf);
  assert.deepEqual(understand(`${RAW}/?x=1`), {
    ok: true,
    path: `${RAW}/`,
    query: 'x=1',
    plain: true,
    route: { name: 'credentials', role: 'reader' },
  });
  assert.deepEqual(understand('/%zz'), { ok: false, reason: 'the path is not validly encoded' });
});

test('a target that was asked before is remembered, a long one is not, and what is remembered is bounded', () => {
  const understand = createTargets(routeOf);
  const first = understand(RAW);
  assert.equal(understand(RAW), first);
  const long = `/${'a'.repeat(256)}`;
  assert.notEqual(understand(long), understand(long));
  for (let other = 0; other < 256; other += 1) understand(`/${other}`);
  assert.notEqual(understand(RAW), first);
  assert.deepEqual(understand(RAW), first);
});
