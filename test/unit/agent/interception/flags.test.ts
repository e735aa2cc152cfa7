import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseHostAddresses } from '#agent/interception/host-addresses.ts';
import { areDisjoint, interfaceMatch, parseHostInterface } from '#agent/interception/host-interface.ts';

test('a host interface becomes the match that iptables reads', () => {
  const cases: [text: string, match: string][] = [
    ['docker0', '-i docker0'],
    ['eni+', '-i eni+'],
    ['!eth0', '! -i eth0'],
    ['cali+', '-i cali+'],
    ['eth0.100', '-i eth0.100'],
    ['br-0a1b2c3d4e5f', '-i br-0a1b2c3d4e5f'],
    ['+', ''],
  ];
  for (const [text, match] of cases) {
    const parsed = parseHostInterface(text);
    assert.ok(parsed.ok, text);
    assert.equal(interfaceMatch(parsed.hostInterface), match);
  }
});

test('text that is no name of an interface is refused', () => {
  const texts = [
    '',
    '!',
    '!+',
    'a b',
    '-i',
    '--help',
    'a/b',
    'a"b',
    'a+b',
    'eth0\n',
    'sixteen-letters-',
    '!!eth0',
    '..',
    'é',
  ];
  for (const text of texts) assert.equal(parseHostInterface(text).ok, false, JSON.stringify(text));
});

test('two interface matches are disjoint only when no interface satisfies both', () => {
  const cases: [one: string, other: string, disjoint: boolean][] = [
    ['veth+', 'veth1', false],
    ['veth1', 'veth+', false],
    ['veth+', 've+', false],
    ['veth+', 'eth0', true],
    ['docker0', 'docker0', false],
    ['docker0', 'docker1', true],
    ['!eth0', 'eth0', true],
    ['!eth0', 'eth1', false],
    ['!eth+', 'eth1', true],
    ['!eth0', 'eth+', false],
    ['!eth0', '!eth1', false],
    ['+', 'eth0', false],
    ['+', '!eth0', false],
    ['+', '+', false],
  ];
  for (const [one, other, disjoint] of cases) {
    const [first, second] = [parseHostInterface(one), parseHostInterface(other)];
    assert.ok(first.ok && second.ok);
    assert.equal(areDisjoint(first.hostInterface, second.hostInterface), disjoint, `${one} and ${other}`);
    assert.equal(areDisjoint(second.hostInterface, first.hostInterface), disjoint, `${other} and ${one}`);
  }
});

test('host addresses are one or a list, at most one of each family', () => {
  const cases: [text: string, ipv4: string | undefined, ipv6: string | undefined][] = [
    ['192.0.2.1', '192.0.2.1', undefined],
    ['2001:DB8:0::1', undefined, '2001:db8::1'],
    ['192.0.2.1,2001:db8::1', '192.0.2.1', '2001:db8::1'],
    ['2001:db8::1, 192.0.2.1', '192.0.2.1', '2001:db8::1'],
    ['::ffff:192.0.2.1', '192.0.2.1', undefined],
  ];
  for (const [text, ipv4, ipv6] of cases) {
    assert.deepEqual(parseHostAddresses(text), { ok: true, addresses: { ipv4, ipv6 } }, text);
  }
});

test('addresses to which nothing can be redirected are refused', () => {
  const texts = ['', 'localhost', '127.0.0.1', '127.1.2.3', '::1', '0.0.0.0', '::', '169.254.169.254', 'fd00:ec2::254'];
  texts.push('fe80::1', '224.0.0.1', '255.255.255.255', '192.0.2.1,192.0.2.2', '192.0.2.1,', '192.0.2.1:80', '[::2]');
  for (const text of texts) assert.equal(parseHostAddresses(text).ok, false, text);
});
