import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseRules, type Rule } from '#agent/interception/rules.ts';

function only(line: string): Rule {
  const rules = parseRules(`-P PREROUTING ACCEPT\n${line}\n`);
  assert.equal(rules.length, 1);
  const [rule] = rules;
  assert.ok(rule !== undefined);
  return rule;
}

test('a redirect as iptables prints it is read in full', () => {
  const rule = only(
    '-A PREROUTING -d 169.254.169.254/32 ! -i eth0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:3100',
  );
  assert.deepEqual(rule, {
    chain: 'PREROUTING',
    specification: '-d 169.254.169.254/32 ! -i eth0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:3100',
    source: undefined,
    destination: { inverted: false, value: '169.254.169.254/32' },
    inInterface: { inverted: true, value: 'eth0' },
    outInterface: undefined,
    protocol: { inverted: false, value: 'tcp' },
    destinationPort: { inverted: false, value: '80' },
    comment: undefined,
    isReadable: true,
    target: 'DNAT',
    targetOptions: ['--to-destination', '192.0.2.1:3100'],
    others: [],
  });
});

test('the order of options does not matter, nor do counters before the rule', () => {
  const rule = only('[12:3400] -A FORWARD -p tcp -i veth+ -s 10.0.0.0/8 -o eth1 -d 192.0.2.0/24 -g SOME-CHAIN');
  assert.deepEqual(rule.inInterface, { inverted: false, value: 'veth+' });
  assert.deepEqual(rule.outInterface, { inverted: false, value: 'eth1' });
  assert.deepEqual(rule.source, { inverted: false, value: '10.0.0.0/8' });
  assert.deepEqual(rule.destination, { inverted: false, value: '192.0.2.0/24' });
  assert.equal(rule.target, 'SOME-CHAIN');
  assert.deepEqual(rule.others, []);
});

test('comments are read with their quotes, backslashes and blanks', () => {
  const cases: [text: string, comment: string][] = [
    ['--comment plain-word', 'plain-word'],
    ['--comment "with blanks -j ACCEPT"', 'with blanks -j ACCEPT'],
    [String.raw`--comment "a \"b\" c"`, 'a "b" c'],
    [String.raw`--comment "back\\slash"`, String.raw`back\slash`],
    ['--comment ""', ''],
  ];
  for (const [text, comment] of cases) {
    const rule = only(`-A FORWARD -m comment ${text} -j DROP`);
    assert.equal(rule.comment, comment);
    assert.equal(rule.target, 'DROP');
    assert.deepEqual(rule.others, []);
  }
});

test('whatever is not known is kept, so that no rule is taken for a simpler one', () => {
  const cases: [line: string, others: string[]][] = [
    [
      '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      ['-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED'],
    ],
    ['-A FORWARD -m set ! --match-set pods src -j ACCEPT', ['-m', 'set', '! --match-set', 'pods', 'src']],
    ['-A FORWARD -p tcp -m multiport --dports 80,443 -j DROP', ['-m', 'multiport', '--dports', '80,443']],
    ['-A FORWARD -d 192.0.2.1/32 -d 192.0.2.2/32 -j DROP', ['-d', '192.0.2.2/32']],
    ['-A FORWARD -m comment --comment "never closed -j DROP', ['-m comment --comment "never closed -j DROP']],
  ];
  for (const [line, others] of cases) assert.deepEqual(only(line).others, others, line);
});

test('lines that are no rules are left out', () => {
  const text = [
    '# Warning: iptables-legacy tables present, use iptables-legacy to see them',
    '*filter',
    ':FORWARD ACCEPT [0:0]',
    '-P FORWARD ACCEPT',
    '-N KUBE-FORWARD',
    '-A FORWARD',
    'COMMIT',
    '',
  ].join('\n');
  const rules = parseRules(text);
  assert.deepEqual(
    rules.map((rule) => [rule.chain, rule.specification, rule.target]),
    [['FORWARD', '', undefined]],
  );
});
