import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import { canonicalAddress, isLoopback } from '#domain/address.ts';
import { awsTimestamp } from '#domain/credentials.ts';
import { identityKey } from '#domain/identity.ts';
import { stsSessionName } from '#domain/session-name.ts';

describe('stsSessionName', () => {
  for (const [name, expected] of [
    ['kiam', 'kiam-kiam'],
    ['my session/1', 'kiam-my-session-1'],
    ['a'.repeat(59), `kiam-${'a'.repeat(59)}`],
    ['a'.repeat(60), `kiam-${'a'.repeat(58)}`],
    [
      'aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg',
      'kiam-aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffff',
    ],
    ['ä', 'kiam--'],
    ['😀x', 'kiam--x'],
    // 57 letters and 2 bytes are 64 with the prefix; with 58 the cut at 63 bytes falls behind the letters.
    [`${'a'.repeat(57)}ä`, `kiam-${'a'.repeat(57)}-`],
    [`${'a'.repeat(58)}ä`, `kiam-${'a'.repeat(58)}`],
    // The cut leaves two bytes of a character of four: each becomes a dash.
    [`${'a'.repeat(56)}😀`, `kiam-${'a'.repeat(56)}--`],
    ['a+=,.@-_9', 'kiam-a+=,.@-_9'],
  ] as const) {
    it(`stsSessionName makes ${expected} of ${name}`, () => {
      assert.equal(stsSessionName(name), expected);
    });
  }

  it('stsSessionName is always one that STS accepts', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (name) => {
        assert.match(stsSessionName(name), /^[\w+=,.@-]{2,64}$/);
      }),
    );
  });
});

describe('identityKey', () => {
  it('identityKey differs wherever identities differ, whatever their texts hold', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '"', ',', '\\', '\u0000', '[', ' ') });
    const identity = fc.record({
      roleArn: text,
      sessionName: text,
      externalId: text,
      attribution: fc.constant(NO_ATTRIBUTION),
    });
    fc.assert(
      fc.property(identity, identity, (one, other) => {
        const same =
          one.roleArn === other.roleArn && one.sessionName === other.sessionName && one.externalId === other.externalId;
        assert.equal(identityKey(one) === identityKey(other), same);
      }),
    );
  });
});

describe('canonicalAddress', () => {
  for (const [text, expected] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['2001:DB8:0:0::1', '2001:db8::1'],
    ['fd00:ec2::254', 'fd00:ec2::254'],
    ['fe80::1%eth0', undefined],
    ['192.0.2.1:80', undefined],
    ['192.0.2', undefined],
    ['0x7f.1', undefined],
    ['', undefined],
    ['::ffff:999.0.2.1', undefined],
  ] as const) {
    it(`canonicalAddress makes ${expected ?? 'nothing'} of ${JSON.stringify(text)}`, () => {
      assert.equal(canonicalAddress(text), expected);
    });
  }

  it('canonicalAddress tells loopback addresses from others', () => {
    assert.deepEqual(['127.0.0.1', '127.9.9.9', '::1', '128.0.0.1', '2001:db8::1'].map(isLoopback), [
      true,
      true,
      true,
      false,
      false,
    ]);
  });
});

describe('awsTimestamp', () => {
  it('awsTimestamp is UTC without fractions', () => {
    assert.equal(awsTimestamp(Date.UTC(2026, 10, 24, 0, 10, 53, 999)), '2026-11-24T00:10:53Z');
  });
});
