import assert from 'node:assert/strict';
import test from 'node:test';

import fc from 'fast-check';

import { canonicalTarget } from '#agent/canonical-path.ts';

const SAME = [
  '/',
  '/ping',
  '/latest/meta-data/',
  '/latest/meta-data/network/interfaces/macs/02:29:96:8f:6a:2d/subnet-id',
  '/latest/meta-data/public-keys/0=my-key',
  '/a.b/..c/d..',
];

for (const path of SAME) {
  test(`${path} is canonical already`, () => {
    const target = canonicalTarget(path);
    assert.ok(target.ok);
    assert.equal(target.path, path);
  });
}

const CLEANED: readonly (readonly [string, string])[] = [
  ['//', '/'],
  ['/.', '/'],
  ['/..', '/'],
  ['/../../ping', '/ping'],
  ['//latest///meta-data//', '/latest/meta-data/'],
  ['/latest/x/../meta-data/', '/latest/meta-data/'],
  ['/latest/./meta-data/.', '/latest/meta-data'],
  ['/latest/%2e%2e/ping', '/ping'],
  ['/latest/.%2E/ping', '/ping'],
  ['/latest%2f..%2fping', '/ping'],
  // Decoded first: the segment that `..` takes away is `b`, not `a%2fb`.
  ['/a%2fb/../c', '/a/c'],
  ['/latest/%6deta-data/', '/latest/meta-data/'],
  ['/latest/meta-data%2Fiam', '/latest/meta-data/iam'],
  ['/r/l%C3%A4ser', '/r/läser'],
  ['/r/%20reader%20', '/r/ reader '],
  ['/r/arn%3Aaws%3Aiam%3A%3A1%3Arole%2Freader', '/r/arn:aws:iam::1:role/reader'],
  ['/r/%252e%252e/x', '/r/%2e%2e/x'],
  ['http://169.254.169.254/latest/', '/latest/'],
  ['HTTP://user@host:80//latest', '/latest'],
  ['https://host', '/'],
];

for (const [target, path] of CLEANED) {
  test(`${target} is ${path}`, () => {
    const canonical = canonicalTarget(target);
    assert.ok(canonical.ok);
    assert.equal(canonical.path, path);
  });
}

const REFUSED = [
  ['', 'nothing'],
  ['*', 'the asterisk form'],
  ['latest/meta-data', 'no leading slash'],
  ['host:80', 'the authority form'],
  ['ftp://host/latest', 'another scheme'],
  ['http:///latest', 'no authority'],
  ['\\latest', 'a leading backslash'],
  ['/latest#x', 'a fragment'],
  ['/latest x', 'a space'],
  ['/latest\tx', 'a tab'],
  ['/l\u00e4ser', 'bytes beyond ASCII'],
  ['/%', 'a lone percent sign'],
  ['/%2', 'half an encoding'],
  ['/%zz', 'an encoding of nothing'],
  ['/%u002f', 'an encoding of another kind'],
  ['/%00', 'NUL'],
  ['/%0a', 'a line feed'],
  ['/%0d%0aHost:%20x', 'a header in the path'],
  ['/%7f', 'DEL'],
  ['/%c2%85', 'a control character beyond ASCII'],
  ['/%e2%80%a8', 'a line separator'],
  ['/%c0%ae%c0%ae/x', 'overlong dots'],
  ['/%c0%af', 'an overlong slash'],
  ['/%e0%80%af', 'a longer overlong slash'],
  ['/%ed%a0%80', 'half a surrogate pair'],
  ['/%ff', 'a byte that no text has'],
  ['/%f5%80%80%80', 'a character beyond Unicode'],
] as const;

for (const [target, what] of REFUSED) {
  test(`a target with ${what} is refused`, () => {
    assert.equal(canonicalTarget(target).ok, false);
  });
}

const NOT_PLAIN = [
  '/a;b',
  '/a%3bb',
  '/a\\b',
  '/a%5cb',
  '/a%25b',
  '/a%252fb',
  '/%e4%bd%a0',
  '/a%20b',
  '/a%3fb',
  '/a%23b',
  '/a*',
];

for (const target of NOT_PLAIN) {
  test(`${target} is understood but not sent on`, () => {
    const canonical = canonicalTarget(target);
    assert.ok(canonical.ok);
    assert.equal(canonical.plain, false);
  });
}

test('the query is kept apart and as it came', () => {
  const canonical = canonicalTarget('/latest/?a=%2e&b=?//..');
  assert.deepEqual(canonical, { ok: true, path: '/latest/', query: 'a=%2e&b=?//..', plain: true });
});

const PIECES =
  '/ // . .. /../ /./ %2e %2E %2f %2F %5c \\ %25 %252f %00 %c0%af ; ? # %20 ä l%C3%A4 http://h latest meta-data iam IAM security-credentials'.split(
    ' ',
  );

const anyTarget = fc.oneof(
  fc.array(fc.constantFrom(...PIECES), { maxLength: 12 }).map((pieces) => pieces.join('')),
  fc.array(fc.constantFrom(...PIECES), { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`),
  fc.webUrl({ withQueryParameters: true }),
  fc.string({ unit: 'binary', maxLength: 60 }),
);

test('whatever the target, a canonical path is clean, and plain ones hold nothing that could be read otherwise', () => {
  fc.assert(
    fc.property(anyTarget, (target) => {
      const canonical = canonicalTarget(target);
      if (!canonical.ok) return;
      assert.match(canonical.path, /^\//);
      assert.doesNotMatch(canonical.path, /\/\/|\/\.\.?(?:\/|$)/);
      if (canonical.plain) assert.match(canonical.path, /^[A-Za-z0-9._~:@=,+/-]+$/);
    }),
    { numRuns: 5000 },
  );
});

test('a canonical path, encoded, is its own canonical path', () => {
  fc.assert(
    fc.property(anyTarget, (target) => {
      const canonical = canonicalTarget(target);
      if (!canonical.ok) return;
      const encoded = canonical.path.split('/').map(encodeURIComponent).join('/');
      const again = canonicalTarget(encoded);
      assert.ok(again.ok);
      assert.equal(again.path, canonical.path);
      assert.equal(again.plain, canonical.plain);
    }),
    { numRuns: 5000 },
  );
});
