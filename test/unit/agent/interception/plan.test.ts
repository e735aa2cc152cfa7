import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseHostInterface, type HostInterface } from '#agent/interception/host-interface.ts';
import { plan, planRemoval, withoutForeign } from '#agent/interception/plan.ts';
import { parseRules } from '#agent/interception/rules.ts';
import {
  desiredBackstop,
  desiredGuard,
  desiredRedirect,
  type DesiredRules,
} from '#agent/interception/desired-rules.ts';

function hostInterface(text: string): HostInterface {
  const parsed = parseHostInterface(text);
  assert.ok(parsed.ok);
  return parsed.hostInterface;
}

const redirect = desiredRedirect({
  family: 'ipv4',
  hostInterface: hostInterface('veth+'),
  address: '192.0.2.1',
  port: 3100,
});
const guard = desiredGuard({ family: 'ipv4', hostInterface: hostInterface('veth+') });
const backstop = desiredBackstop({ family: 'ipv4', hostInterface: hostInterface('veth+') });
const redirectAny = desiredRedirect({
  family: 'ipv4',
  hostInterface: hostInterface('+'),
  address: '192.0.2.1',
  port: 3100,
});
const guardAny = desiredGuard({ family: 'ipv4', hostInterface: hostInterface('+') });
const redirect6 = desiredRedirect({
  family: 'ipv6',
  hostInterface: hostInterface('!eth0'),
  address: '2001:db8::1',
  port: 3100,
});

const OURS =
  '-A PREROUTING -d 169.254.169.254/32 -i veth+ -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:3100';
const OLD =
  '-A PREROUTING -d 169.254.169.254/32 -i veth+ -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.9:8181';
const OURS_6 =
  '-A PREROUTING -d fd00:ec2::254/128 ! -i eth0 -p tcp -m tcp --dport 80 -j DNAT --to-destination [2001:db8::1]:3100';
const SERVICES = '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES';
const GUARD = [
  '-A FORWARD -d 169.254.169.254/32 -i veth+ -p tcp -m comment --comment kiam-guard -j REJECT --reject-with tcp-reset',
  '-A FORWARD -d 169.254.169.254/32 -i veth+ -m comment --comment kiam-guard -j REJECT --reject-with icmp-port-unreachable',
];
const BACKSTOP = ['-A FORWARD -d 169.254.169.254/32 -i veth+ -m comment --comment kiam-guard -j DROP'];
const OURS_ANY = OURS.replace(' -i veth+', '');
const GUARD_ANY = GUARD.map((line) => line.replace(' -i veth+', ''));
const OTHER_GUARD = GUARD.map((line) => line.replace('veth+', 'docker0'));

interface Case {
  readonly name: string;
  readonly desired: DesiredRules;
  readonly current: readonly string[];
  readonly findings: string;
  readonly inForce: boolean;
  /** What the chain must hold once the plan is carried out. */
  readonly after: readonly string[];
}

const shadowing = (line: string, desired = redirect, ours: readonly string[] = [OURS]): Case => ({
  name: `a rule that may take the packets is moved behind ours: ${line}`,
  desired,
  current: [line, ...ours],
  findings: 'shadowed',
  inForce: false,
  after: [...ours, line],
});

const harmless = (line: string, desired = redirect, ours: readonly string[] = [OURS]): Case => ({
  name: `a rule that cannot take the packets may stay in front: ${line}`,
  desired,
  current: [line, ...ours],
  findings: '',
  inForce: true,
  after: [line, ...ours],
});

const cases: readonly Case[] = [
  { name: 'an empty chain', desired: redirect, current: [], findings: 'missing', inForce: false, after: [OURS] },
  { name: 'all is well', desired: redirect, current: [OURS], findings: '', inForce: true, after: [OURS] },
  {
    name: 'the same with its options in another order, as other versions print them',
    desired: redirect,
    current: [
      '-A PREROUTING -i veth+ -p tcp -d 169.254.169.254 -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:3100',
    ],
    findings: '',
    inForce: true,
    after: [
      '-A PREROUTING -i veth+ -p tcp -d 169.254.169.254 -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:3100',
    ],
  },
  {
    name: 'doubled, as two starts of a program that only appends leave it',
    desired: redirect,
    current: [OURS, SERVICES, OURS],
    findings: 'duplicated',
    inForce: true,
    after: [OURS, SERVICES],
  },
  {
    name: "Kiam's rule with another address",
    desired: redirect,
    current: [OLD],
    findings: 'missing,foreign',
    inForce: false,
    after: [OURS],
  },
  {
    name: "Kiam's rule for another interface, in front of ours, twice",
    desired: redirect,
    current: [OLD.replace('-i veth+', '! -i eth0'), OLD.replace('-i veth+', '! -i eth0'), OURS],
    findings: 'foreign',
    inForce: false,
    after: [OURS],
  },
  {
    name: 'a foreign rule behind ours is tidied up, though ours is in force',
    desired: redirect,
    current: [OURS, OLD],
    findings: 'foreign',
    inForce: true,
    after: [OURS],
  },
  shadowing('-A PREROUTING -d 169.254.169.254/32 -j ACCEPT'),
  shadowing('-A PREROUTING -d 169.254.0.0/16 -i veth3 -j SOME-CHAIN'),
  shadowing('-A PREROUTING -j RETURN'),
  shadowing('-A PREROUTING ! -d 10.0.0.0/8 -p tcp -m multiport --dports 80,443 -j REDIRECT --to-ports 1'),
  shadowing(
    '-A PREROUTING -d 169.254.169.254/32 -s 10.0.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:3100',
  ),
  shadowing('-A PREROUTING -d 169.254.169.254/32 -p tcp -m tcp --dport 1:1024 -j DNAT --to-destination 192.0.2.1:3100'),
  shadowing('-A PREROUTING -m comment --comment "never closed'),
  harmless(SERVICES),
  harmless('-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER'),
  harmless('-A PREROUTING -d 10.0.0.0/8 -j ACCEPT'),
  harmless('-A PREROUTING ! -d 169.254.0.0/16 -j ACCEPT'),
  harmless('-A PREROUTING -d 169.254.169.254/32 -p udp -m udp --dport 53 -j ACCEPT'),
  harmless('-A PREROUTING -d 169.254.169.254/32 -p tcp -m tcp --dport 443 -j ACCEPT'),
  harmless('-A PREROUTING -m recent --set --name seen --rsource'),
  harmless('-A PREROUTING -i lo -j ACCEPT'),
  harmless('-A PREROUTING -d 169.254.169.254/32 -j LOG --log-prefix "metadata "'),
  { name: 'IPv6: missing', desired: redirect6, current: [], findings: 'missing', inForce: false, after: [OURS_6] },
  {
    name: 'IPv6: the address may be spelt differently',
    desired: redirect6,
    current: [OURS_6.replace('fd00:ec2::254', 'fd00:0ec2::0254').replace('2001:db8::1', '2001:db8:0::1')],
    findings: '',
    inForce: true,
    after: [OURS_6.replace('fd00:ec2::254', 'fd00:0ec2::0254').replace('2001:db8::1', '2001:db8:0::1')],
  },
  { name: 'no guard', desired: guard, current: [], findings: 'missing', inForce: false, after: GUARD },
  { name: 'a guard', desired: guard, current: GUARD, findings: '', inForce: true, after: GUARD },
  {
    name: 'half a guard',
    desired: guard,
    current: GUARD.slice(1),
    findings: 'missing',
    inForce: false,
    after: GUARD,
  },
  {
    name: 'a guard the wrong way round never resets a connection',
    desired: guard,
    current: GUARD.toReversed(),
    findings: 'disordered',
    inForce: false,
    after: GUARD,
  },
  {
    name: 'a guard of an older configuration',
    desired: guard,
    current: [...OTHER_GUARD, '-A FORWARD -j ACCEPT', ...GUARD],
    findings: 'foreign,shadowed',
    inForce: false,
    after: [...GUARD, '-A FORWARD -j ACCEPT'],
  },
  {
    name: 'an accepting rule between the two halves',
    desired: guard,
    current: [GUARD[0] ?? '', '-A FORWARD -i veth+ -j ACCEPT', GUARD[1] ?? ''],
    findings: 'shadowed',
    inForce: false,
    after: [...GUARD, '-A FORWARD -i veth+ -j ACCEPT'],
  },
  { name: 'no guard', desired: guardAny, current: [], findings: 'missing', inForce: false, after: GUARD_ANY },
  {
    name: 'a guard for all interfaces',
    desired: guardAny,
    current: GUARD_ANY,
    findings: '',
    inForce: true,
    after: GUARD_ANY,
  },
  {
    name: 'a guard for one interface where one for all is wanted',
    desired: guardAny,
    current: GUARD,
    findings: 'missing,foreign',
    inForce: false,
    after: GUARD_ANY,
  },
  {
    name: 'a guard for all interfaces where one for a single one is wanted',
    desired: guard,
    current: GUARD_ANY,
    findings: 'missing,foreign',
    inForce: false,
    after: GUARD,
  },
  {
    name: 'a redirect for all interfaces in place of one for a single one',
    desired: redirectAny,
    current: [OURS],
    findings: 'missing,foreign',
    inForce: false,
    after: [OURS_ANY],
  },
  shadowing('-A FORWARD -i eth0 -j ACCEPT', guardAny, GUARD_ANY),
  shadowing('-A PREROUTING -i eth0 -j ACCEPT', redirectAny, [OURS_ANY]),
  shadowing('-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT', guard, GUARD),
  shadowing('-A FORWARD -m comment --comment "cali:x" -j cali-FORWARD', guard, GUARD),
  shadowing('-A FORWARD -i veth9 -g SOME-CHAIN', guard, GUARD),
  shadowing('-A FORWARD -d 169.254.169.254/32 -p udp -j ACCEPT', guard, GUARD),
  harmless('-A FORWARD -m conntrack --ctstate INVALID -j DROP', guard, GUARD),
  harmless('-A FORWARD -d 10.0.0.0/8 -j ACCEPT', guard, GUARD),
  harmless('-A FORWARD -i eth0 -j ACCEPT', guard, GUARD),
  { name: 'no backstop', desired: backstop, current: [], findings: 'missing', inForce: false, after: BACKSTOP },
  { name: 'a backstop', desired: backstop, current: BACKSTOP, findings: '', inForce: true, after: BACKSTOP },
  {
    name: 'a backstop that lets everything but TCP pass',
    desired: backstop,
    current: BACKSTOP.map((line) => line.replace('-m comment', '-p tcp -m comment')),
    findings: 'missing,foreign',
    inForce: false,
    after: BACKSTOP,
  },
  shadowing('-A FORWARD -j ACCEPT', backstop, BACKSTOP),
  harmless('-A FORWARD -j SECMARK --selctx system_u:object_r:packet_t:s0', backstop, BACKSTOP),
];

for (const { name, desired, current, findings, inForce, after } of cases) {
  test(`${desired.name} plan, ${name}`, () => {
    const found = plan(parseRules(current.join('\n')), desired);
    assert.equal(found.findings.join(','), findings);
    assert.equal(found.inForce, inForce);
    const chain = carryOut(current, found.lines);
    assert.deepEqual(chain, after);
    assert.deepEqual(plan(parseRules(chain.join('\n')), desired).lines, [], 'a second plan has nothing to do');
  });
}

test('a plan touches no other chain and no rule that is not recognised', () => {
  const lines = plan(parseRules([SERVICES, OLD.replace('PREROUTING', 'OUTPUT'), OLD].join('\n')), redirect).lines;
  assert.deepEqual(lines, [OLD.replace('-A', '-D'), OURS.replace('-A PREROUTING', '-I PREROUTING 1')]);
});

test('removal takes every copy of ours and leaves those of other agents', () => {
  const rules = parseRules([OURS, OLD, SERVICES, OURS].join('\n'));
  assert.deepEqual(planRemoval(rules, redirect), [OURS.replace('-A', '-D'), OURS.replace('-A', '-D')]);
});

test('a guard beside that of another agent is planned without touching the other', () => {
  const current = [...OTHER_GUARD, '-A FORWARD -j ACCEPT'];
  const found = plan(withoutForeign(parseRules(current.join('\n')), guard), guard);
  assert.deepEqual(carryOut(current, found.lines), [...GUARD, ...current]);
});

test('a rule with the guard’s comment that lets packets pass is neither guard nor backstop', () => {
  for (const [desired, own] of [
    [backstop, BACKSTOP],
    [guard, GUARD],
  ] as const) {
    const passing = own.map((line) => line.replace(/-j .*/, '-j RETURN'));
    const found = plan(parseRules(passing.join('\n')), desired);
    assert.equal(found.inForce, false);
    assert.deepEqual(carryOut(passing, found.lines), own);
  }
});

/** What iptables-restore does with the lines. */
function carryOut(current: readonly string[], lines: readonly string[]): string[] {
  const chain = [...current];
  for (const line of lines) {
    const insertion = /^-I (\S+) (\d+) (.*)$/.exec(line);
    if (insertion !== null) {
      chain.splice(Number(insertion[2]) - 1, 0, `-A ${insertion[1] ?? ''} ${insertion[3] ?? ''}`);
      continue;
    }
    const index = chain.indexOf(line.replace(/^-D/, '-A'));
    assert.notEqual(index, -1, `there is no rule to delete: ${line}`);
    chain.splice(index, 1);
  }
  return chain;
}
