import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { portOf } from '#agent/evidence/bridge.ts';
import { createEvidenceReader } from '#agent/evidence/evidence.ts';
import { isElsewhere } from '#agent/evidence/interfaces.ts';
import type { KernelFiles } from '#agent/evidence/kernel-files.ts';
import { neighboursOf } from '#agent/evidence/neighbours.ts';
import { findHostRoute6, readRoutes4 } from '#agent/evidence/routes.ts';

import { ManualClock } from '../../../support/manual-clock.ts';

const ROUTE_HEAD = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT';

/** A line of /proc/net/route; addresses as the kernel prints them on a little-endian machine. */
function route(device: string, destination: string, bits: number, flags = '0005', gateway = '0.0.0.0'): string {
  const hex = (address: string): string =>
    address
      .split('.')
      .toReversed()
      .map((part) => Number(part).toString(16).padStart(2, '0').toUpperCase())
      .join('');
  const mask = [0, 8, 16, 24].map((from) => (0xff00 >> Math.min(8, Math.max(0, bits - from))) & 0xff).join('.');
  return [device, hex(destination), hex(gateway), flags, '0', '0', '0', hex(mask), '0', '0', '0'].join('\t');
}

const table = (...lines: readonly string[]): string => `${[ROUTE_HEAD, ...lines].join('\n')}\n`;

/** What sysfs shows of one end of a pair. */
function interfaceFiles(
  name: string,
  index: number,
  changed: { type?: string; iflink?: number; uevent?: string } = {},
) {
  return [
    [`/sys/class/net/${name}/uevent`, `${changed.uevent ?? ''}INTERFACE=${name}\nIFINDEX=${index}\n`],
    [`/sys/class/net/${name}/iflink`, `${changed.iflink ?? index + 1}\n`],
    [`/sys/class/net/${name}/type`, `${changed.type ?? '1'}\n`],
  ] as const;
}

function kernelOf(files: ReadonlyMap<string, string | Buffer>, inodes: ReadonlyMap<string, bigint>): KernelFiles {
  return {
    read: (path) => {
      const found = files.get(path);
      return found === undefined ? undefined : Buffer.from(found);
    },
    list: () => ['veth8', 'veth7', 'veth9'],
    inode: (path) => inodes.get(path),
  };
}

describe('the interface of a routed address', () => {
  const keyOf = (changed: Parameters<typeof interfaceFiles>[2], inode: bigint | undefined = 5n) => {
    const files = new Map<string, string>([
      ['/proc/net/route', table(route('veth1', '198.18.1.2', 32))],
      ...interfaceFiles('veth1', 7, changed),
    ]);
    const inodes = new Map(inode === undefined ? [] : [['/sys/class/net/veth1', inode]]);
    return createEvidenceReader(kernelOf(files, inodes), new ManualClock())('198.18.1.2');
  };

  it('the interface of a routed address is evidence where it is one end of a pair, by name, index and inode', () => {
    assert.deepEqual(keyOf({}), { kind: 'interface', key: 'veth1 7 5' });
    assert.deepEqual(keyOf({ uevent: 'DEVTYPE=netkit\n' }), { kind: 'interface', key: 'veth1 7 5' });
    assert.notDeepEqual(keyOf({}, 6n), keyOf({}, 5n));
  });

  for (const [what, changed] of [
    ['a macvlan', { uevent: 'DEVTYPE=macvlan\n' }],
    ['a VXLAN', { uevent: 'DEVTYPE=vxlan\n' }],
    ['a tunnel', { type: '65534' }],
    ['an uplink or a tap', { iflink: 7 }],
    ['of a pair whose other end is gone', { iflink: 0 }],
  ] as const) {
    it(`the interface of a routed address is none where it is ${what}`, () =>
      assert.equal(keyOf(changed).kind, 'none'));
  }

  it('the interface of a routed address is none where sysfs does not know it', () => {
    const files = new Map([['/proc/net/route', table(route('veth1', '198.18.1.2', 32))]]);
    assert.equal(createEvidenceReader(kernelOf(files, new Map()), new ManualClock())('198.18.1.2').kind, 'none');
  });
});

describe('the route of an IPv4 address', () => {
  const routed = table(
    route('eth0', '0.0.0.0', 0, '0003', '198.18.0.10'),
    route('veth1', '198.18.1.2', 32),
    route('veth2', '198.18.1.3', 32),
    route('veth3', '198.18.1.4', 32),
    route('veth3', '198.18.4.0', 24, '0003', '198.18.1.4'),
    route('wg0', '198.18.2.1', 32),
    route('wg0', '198.18.2.2', 32),
    route('kbr0', '198.18.3.0', 24, '0001'),
  );

  for (const [what, address, expected] of [
    ['its own interface', '198.18.1.2', { device: 'veth1', isPrivate: true }],
    ['an interface with two such routes', '198.18.2.1', { device: 'wg0', isPrivate: false }],
    ['an interface that leads to a whole network as well', '198.18.1.4', { device: 'veth3', isPrivate: false }],
    ['a bridge', '198.18.3.9', { device: 'kbr0', isPrivate: false }],
    ['a gateway only', '198.18.9.9', undefined],
  ] as const) {
    it(`the route of an IPv4 address by ${what}`, () => assert.deepEqual(readRoutes4(routed)(address), expected));
  }

  it('the route of an IPv4 address is not guessed where two are equally good, or the route is down or a refusal', () => {
    assert.equal(
      readRoutes4(table(route('a', '198.18.1.2', 32), route('b', '198.18.1.2', 32)))('198.18.1.2'),
      undefined,
    );
    assert.equal(readRoutes4(table(route('a', '198.18.1.2', 32, '0004')))('198.18.1.2'), undefined);
    assert.equal(readRoutes4(table(route('*', '198.18.1.2', 32, '0205')))('198.18.1.2'), undefined);
  });
});

describe('an address is elsewhere', () => {
  const files = new Map<string, string>(interfaceFiles('veth1', 7));
  const kernel = kernelOf(files, new Map([['/sys/class/net/veth1', 5n]]));
  const at = (key: string) => ({ kind: 'interface', key }) as const;
  const shared = (behind?: string) => ({ kind: 'none', reason: 'a test', behind }) as const;

  for (const [what, before, now, expected] of [
    ['behind another interface, while the first is there', 'veth1 7 5', at('veth2 17 6'), true],
    ['nowhere, while the first is there', 'veth1 7 5', shared(), true],
    ['behind another that it shares, while the first is there', 'veth1 7 5', shared('veth2 17 6'), true],
    ['behind another port of the bridge', 'kbr0 0a:58:c6:12:03:09 veth1 7 5', at('kbr0 bb veth2 17 6'), true],
    ['behind the same interface', 'veth1 7 5', at('veth1 7 5'), false],
    ['behind the same, which it shares now', 'veth1 7 5', shared('veth1 7 5'), false],
    ['behind the same, with another MAC', 'kbr0 0a:58:c6:12:03:09 veth1 7 5', at('kbr0 bb veth1 7 5'), false],
    ['behind another, and the first is gone', 'veth1 7 4', at('veth2 17 6'), false],
    ['nowhere, and the first is gone', 'veth9 7 5', shared(), false],
  ] as const) {
    it(`an address is ${expected ? '' : 'not '}elsewhere when it is ${what}`, () =>
      assert.equal(isElsewhere(kernel, before, now), expected));
  }
});

describe('the routes of a node that has thousands', () => {
  const ADDRESS = '198.18.1.2';
  const far = Array.from({ length: 2000 }, (_, index) =>
    route('eth0', `10.${index >> 8}.${index & 255}.0`, 24, '0003'),
  );
  const arpOf = (...devices: readonly string[]): string =>
    ['head', ...devices.map((device) => `${ADDRESS} 0x1 0x2 0a:58:c6:12:01:02 * ${device}`)].join('\n');

  function node() {
    const clock = new ManualClock();
    const files = new Map<string, string>([
      ['/proc/net/route', table(...far, route('veth1', ADDRESS, 32))],
      ['/proc/net/arp', arpOf('veth1')],
      ...interfaceFiles('veth1', 7),
      ...interfaceFiles('veth2', 17),
    ]);
    const inodes = new Map([
      ['/sys/class/net/veth1', 5n],
      ['/sys/class/net/veth2', 6n],
    ]);
    const kernel = kernelOf(files, inodes);
    let looks = 0;
    const counted: KernelFiles = {
      ...kernel,
      read: (path) => {
        if (path === '/proc/net/route') looks += 1;
        return kernel.read(path);
      },
    };
    const read = createEvidenceReader(counted, clock);
    return { clock, files, looks: () => looks, key: () => JSON.stringify(read(ADDRESS)) };
  }

  it('the routes of a node that has thousands are read once a second, whatever connects', async () => {
    const { clock, looks, key } = node();
    const first = key();
    assert.match(first, /veth1 7 5/);
    for (let count = 0; count < 1000; count += 1) assert.equal(key(), first);
    assert.equal(looks(), 1);
    await clock.advance(1000);
    assert.equal(key(), first);
    assert.equal(looks(), 2);
  });

  it('the routes of a node that has thousands are no evidence in between where the neighbour is elsewhere, in two places or nowhere', async () => {
    for (const devices of [['veth2'], ['veth1', 'veth2'], []]) {
      const { clock, files, key } = node();
      const first = key();
      files.set('/proc/net/route', table(...far, route('veth2', ADDRESS, 32)));
      files.set('/proc/net/arp', arpOf(...devices));
      assert.match(key(), /none/, devices.join());
      files.set('/proc/net/arp', arpOf('veth2'));
      await clock.advance(1000);
      assert.match(key(), /veth2 17 6/);
      assert.notEqual(key(), first);
    }
  });

  it('the routes of a node that has thousands are read for each connection where they are few', () => {
    const { files, looks, key } = node();
    files.set('/proc/net/route', table(route('veth1', ADDRESS, 32)));
    for (let count = 0; count < 10; count += 1) key();
    assert.equal(looks(), 10);
  });

  it('the routes of a node that has thousands are not read at all for IPv6', () => {
    const line = `fd000198001800010000000000000002 80 ${'0'.repeat(32)} 00 ${'0'.repeat(32)} 00000400 00000001 00000000 00000001 veth1`;
    for (const [count, kind] of [
      ['0200', 'interface'],
      ['0201', 'none'],
    ] as const) {
      const { files } = node();
      files.set('/proc/net/ipv6_route', line);
      files.set('/proc/net/rt6_stats', `00d5 006c 0034 ${count} 0000 0000 2711\n`);
      const read = createEvidenceReader(kernelOf(files, new Map([['/sys/class/net/veth1', 5n]])), new ManualClock());
      assert.equal(read('fd00:198:18:1::2').kind, kind);
    }
  });
});

describe('the route of an IPv6 address', () => {
  const line = (destination: string, length: string, flags: string, device: string, gateway = '0'.repeat(32)): string =>
    `${destination} ${length} ${'0'.repeat(32)} 00 ${gateway} 00000400 00000001 00000000 ${flags} ${device.padStart(8)}`;
  const POD = 'fd000198001800010000000000000002';

  it('the route of an IPv6 address is its own interface, local and multicast entries of the same device apart', () => {
    const text = [
      line(POD, '80', '00000001', 'veth1'),
      line('fe800000000000000000000000000000', '40', '00000001', 'veth1'),
      line('fe80000000000000ecee eeff'.replace(' ', '').padEnd(32, 'e'), '80', '80200001', 'veth1'),
      line('ff000000000000000000000000000000', '08', '00000001', 'veth1'),
    ].join('\n');
    assert.deepEqual(findHostRoute6(text, 'fd00:198:18:1::2'), { device: 'veth1', isPrivate: true });
    assert.equal(findHostRoute6(text, 'fd00:198:18:1::3'), undefined);
  });

  it('the route of an IPv6 address is no evidence where the device has two, or a gateway is in between', () => {
    const other = POD.replace(/2$/, '3');
    const two = [line(POD, '80', '00000001', 'wg0'), line(other, '80', '00000001', 'wg0')].join('\n');
    assert.deepEqual(findHostRoute6(two, 'fd00:198:18:1::2'), { device: 'wg0', isPrivate: false });
    assert.equal(findHostRoute6(line(POD, '80', '00000003', 'eth0', 'f'.repeat(32)), 'fd00:198:18:1::2'), undefined);
  });
});

describe('the neighbour on a bridge', () => {
  const arp = [
    'IP address       HW type     Flags       HW address            Mask     Device',
    '198.18.3.9       0x1         0x2         0a:58:c6:12:03:09     *        kbr0',
    '198.18.3.90      0x1         0x0         00:00:00:00:00:00     *        kbr0',
    '198.18.3.91      0x1         0x2         0a:58:c6:12:03:5b     *        eth0',
  ].join('\n');

  const macOf = (bridge: string, address: string): string | undefined =>
    neighboursOf(arp, address).find(({ device }) => device === bridge)?.mac;

  it('the neighbour on a bridge is told where the kernel has made sure of it, on that bridge', () => {
    assert.equal(macOf('kbr0', '198.18.3.9'), '0a:58:c6:12:03:09');
    for (const address of ['198.18.3.90', '198.18.3.91', '198.18.3.1', '198.18.3']) {
      assert.equal(macOf('kbr0', address), undefined, address);
    }
  });

  const entry = (mac: string, port: number, isLocal = false): Buffer => {
    const bytes = Buffer.alloc(16);
    Buffer.from(mac.replaceAll(':', ''), 'hex').copy(bytes);
    bytes[6] = port & 0xff;
    bytes[7] = isLocal ? 1 : 0;
    bytes[12] = port >> 8;
    return bytes;
  };
  const MAC = '0a:58:c6:12:03:09';

  it('the neighbour on a bridge has a port where nobody else was learned', () => {
    const own = entry('aa:aa:aa:aa:aa:aa', 300, true);
    const other = 'bb:bb:bb:bb:bb:bb';
    const alone = portOf(Buffer.concat([own, entry(MAC, 300), entry(other, 2)]), MAC);
    assert.deepEqual(alone, { port: 300, isPrivate: true });
    assert.deepEqual(portOf(Buffer.concat([entry(MAC, 3), entry(other, 3)]), MAC), { port: 3, isPrivate: false });
    assert.equal(portOf(Buffer.concat([entry(MAC, 3), entry(MAC, 4)]), MAC), undefined);
    assert.equal(portOf(entry('bb:bb:bb:bb:bb:bb', 3), MAC), undefined);
  });

  it('the neighbour on a bridge changes when another interface has come behind the same port number', () => {
    const files = new Map<string, string | Buffer>([
      ['/proc/net/route', table(route('kbr0', '198.18.3.0', 24, '0001'))],
      ['/proc/net/arp', arp],
      ['/sys/class/net/kbr0/brforward', entry(MAC, 3)],
      ['/sys/class/net/kbr0/brif/veth7/port_no', '0x3\n'],
      ['/sys/class/net/kbr0/brif/veth8/port_no', '0x4\n'],
      ...interfaceFiles('veth7', 70),
      ...interfaceFiles('veth8', 80),
    ]);
    const inodes = new Map([
      ['/sys/class/net/veth7', 700n],
      ['/sys/class/net/veth8', 800n],
    ]);
    const read = createEvidenceReader(kernelOf(files, inodes), new ManualClock());
    const first = read('198.18.3.9');
    assert.equal(first.kind, 'interface');
    assert.deepEqual(read('198.18.3.9'), first);
    // The pod's interface goes, and the next pod's gets name, MAC and port number of it.
    inodes.set('/sys/class/net/veth7', 701n);
    assert.notDeepEqual(read('198.18.3.9'), first);
    // Somebody else is learned behind it.
    files.set('/sys/class/net/kbr0/brforward', Buffer.concat([entry(MAC, 3), entry('bb:bb:bb:bb:bb:bb', 3)]));
    const shared = read('198.18.3.9');
    assert.equal(shared.kind === 'none' && shared.behind, `kbr0 ${MAC} veth7 70 701`);
    files.set('/sys/class/net/kbr0/brforward', entry(MAC, 3));
    // The port number wanders to another member.
    files.set('/sys/class/net/kbr0/brif/veth7/port_no', '0x4\n');
    files.set('/sys/class/net/kbr0/brif/veth8/port_no', '0x3\n');
    assert.deepEqual(read('198.18.3.9'), { kind: 'interface', key: `kbr0 ${MAC} veth8 80 800` });
    files.delete('/sys/class/net/kbr0/brforward');
    assert.equal(read('198.18.3.9').kind, 'none');
  });
});

describe('whatever the kernel’s files hold', () => {
  it('reading them never throws, and what is no table is no evidence', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 400 }),
      fc
        .array(fc.constantFrom('veth1', '\t', '\n', '0201120C', 'FFFFFFFF', '0005', ' ', '0', '80', 'x'), {
          maxLength: 60,
        })
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, fc.constantFrom('198.18.1.2', 'fd00:198:18:1::2'), (content, address) => {
        const read = createEvidenceReader(
          { read: () => Buffer.from(content), list: () => ['veth1'], inode: () => 1n },
          new ManualClock(),
        );
        const evidence = read(address);
        assert.ok(evidence.kind === 'none' || evidence.key !== '');
      }),
      { numRuns: 2000 },
    );
    assert.equal(
      createEvidenceReader({ read: () => undefined, list: () => [], inode: () => 1n }, new ManualClock())('198.18.1.2')
        .kind,
      'none',
    );
  });
});
