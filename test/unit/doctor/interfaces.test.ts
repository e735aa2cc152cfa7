import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { KernelFiles } from '#agent/evidence/kernel-files.ts';
import { parseHostInterface } from '#agent/interception/host-interface.ts';
import { checkInterfaces } from '#doctor/node/interfaces.ts';

interface Link {
  readonly type?: string;
  readonly isPod?: boolean;
  readonly addresses?: readonly string[];
  readonly ports?: readonly string[];
}

/** /sys/class/net and /proc/net/route of a node with these interfaces, whose way out is the first. */
function nodeOf(links: Readonly<Record<string, Link>>): {
  files: KernelFiles;
  addresses: Map<string, readonly string[]>;
} {
  const names = Object.keys(links);
  const texts = new Map<string, string>();
  texts.set('/proc/net/route', `Iface\tDestination\n${names[0]}\t00000000\t01020304\t0003\t0\t0\t0\t00000000\t0\t0\t0`);
  names.forEach((name, index) => {
    const { type, isPod = false } = links[name] ?? {};
    const folder = `/sys/class/net/${name}`;
    texts.set(`${folder}/uevent`, `${type === undefined ? '' : `DEVTYPE=${type}\n`}IFINDEX=${index + 1}\n`);
    texts.set(`${folder}/iflink`, String(isPod ? 100 + index : index + 1));
    texts.set(`${folder}/type`, '1');
  });
  return {
    addresses: new Map(names.map((name) => [name, links[name]?.addresses ?? []])),
    files: {
      read: (path) => (texts.has(path) ? Buffer.from(texts.get(path) ?? '') : undefined),
      list: (path) => {
        if (path === '/sys/class/net') return names;
        const bridge = /^\/sys\/class\/net\/(.+)\/brif$/.exec(path)?.[1] ?? '';
        return links[bridge]?.ports ?? [];
      },
      inode: () => 1n,
    },
  };
}

const UPLINK = { addresses: ['192.0.2.1/24', 'fe80::1/64'] };
const POD = { isPod: true, addresses: ['fe80::2/64'] };
const CALICO = nodeOf({ eth0: UPLINK, cali1a: POD, cali2b: POD });
const BRIDGED = nodeOf({
  eth0: UPLINK,
  cni0: { type: 'bridge', addresses: ['198.51.100.1/24'], ports: ['veth1a', 'veth2b'] },
  veth1a: POD,
  veth2b: POD,
});

const CASES: readonly [name: string, node: typeof CALICO, flag: string, told: readonly string[]][] = [
  ['a pattern', CALICO, 'cali+', ['ok --host-interface=cali+ matches all interfaces of pods: cali1a, cali2b']],
  ['all but the way out', CALICO, '!eth0', ['ok --host-interface=!eth0 matches all']],
  ['any interface', CALICO, '+', ['ok the redirect matches packets from every interface']],
  ['another plug-in', CALICO, 'eni+', ['wrong --host-interface=eni+ does not match cali1a, cali2b']],
  ['one pod of two', CALICO, 'cali1a', ['wrong --host-interface=cali1a does not match cali2b']],
  [
    'the way out',
    CALICO,
    'eth0',
    ['cannot tell --host-interface=eth0 also matches eth0', 'wrong --host-interface=eth0'],
  ],
  ['a bridge', BRIDGED, 'cni0', ['ok --host-interface=cni0 matches all interfaces of pods: cni0']],
  ['the ports of a bridge', BRIDGED, 'veth+', ['wrong --host-interface=veth+ does not match cni0']],
  ['no pod', nodeOf({ eth0: UPLINK }), 'cali+', ['cannot tell no pod runs on this node yet, and no interface matches']],
  [
    'links to what is no pod',
    nodeOf({ eth0: UPLINK, vpn0: { isPod: true, addresses: ['203.0.113.1/30'] }, cilium_host: POD, lxc1: POD }),
    'lxc+',
    ['ok --host-interface=lxc+ matches all interfaces of pods: lxc1'],
  ],
  [
    'addresses of gateways, each for one pod',
    nodeOf({ eth0: UPLINK, veth1: { isPod: true, addresses: ['198.51.100.1/32'] } }),
    'docker0',
    ['wrong --host-interface=docker0 does not match veth1'],
  ],
];

for (const [name, node, flag, told] of CASES) {
  test(`--host-interface is held against ${name}`, () => {
    const parsed = parseHostInterface(flag);
    assert.ok(parsed.ok);
    const observations = checkInterfaces({ hostInterface: parsed.hostInterface, ...node });
    const lines = observations.map(({ verdict, says }) => `${verdict} ${says}`);
    assert.equal(lines.length, told.length, lines.join('\n'));
    told.forEach((beginning, index) => assert.ok(lines[index]?.startsWith(beginning), lines[index]));
  });
}

test('the fix is a pattern that all pods have in common', () => {
  const parsed = parseHostInterface('docker0');
  assert.ok(parsed.ok);
  const [found] = checkInterfaces({ hostInterface: parsed.hostInterface, ...CALICO });
  assert.ok(found?.verdict === 'wrong' && found.fix.endsWith(': cali+'), JSON.stringify(found));
});

test('pods that have nothing in common have no pattern', () => {
  const parsed = parseHostInterface('docker0');
  assert.ok(parsed.ok);
  const [found] = checkInterfaces({
    hostInterface: parsed.hostInterface,
    ...nodeOf({ eth0: UPLINK, cali1: POD, eni1: POD }),
  });
  assert.ok(found?.verdict === 'wrong' && found.fix.includes('cali+ for Calico, eni+'), JSON.stringify(found));
});
