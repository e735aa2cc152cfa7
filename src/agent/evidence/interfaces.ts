import type { Evidence } from '../ports.ts';
import { type KernelFiles, readNumber } from './kernel-files.ts';

/** ARPHRD_ETHER of linux/if_arp.h. */
const ETHERNET = 1;

/**
 * What distinguishes a pod's interface from every other since the node started: its name, its index and the
 * inode of its directory in sysfs. Undefined for an interface that is not one end of a pair with a pod.
 *
 * Name and index may both come back: an interface that was made inside a pod keeps its index when it moves to the node, where
 * that is free (Linux, net/core/dev.c, `dev_change_net_namespace`). The inode does not (fs/kernfs/dir.c, `kernfs_new`). It is
 * read last, so that an interface that is replaced meanwhile is never taken for the former one.
 *
 * An end of a pair is a veth, which names no type of its own, or a netkit; its `iflink` is the index of the other end. Uplinks
 * and taps link to themselves, VLAN, macvlan, ipvlan and VXLAN name their type, tunnels are not Ethernet
 * (https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-net).
 */
export function podInterfaceKey(files: KernelFiles, name: string): string | undefined {
  const directory = `/sys/class/net/${name}`;
  const event = files.read(`${directory}/uevent`)?.toString('latin1') ?? '';
  const index = Number(/^IFINDEX=(\d+)$/m.exec(event)?.[1]);
  const type = /^DEVTYPE=(.*)$/m.exec(event)?.[1] ?? 'netkit';
  const otherEnd = readNumber(files, `${directory}/iflink`) ?? 0;
  const isPair = type === 'netkit' && otherEnd > 0 && otherEnd !== index;
  if (Number.isNaN(index) || !isPair || readNumber(files, `${directory}/type`) !== ETHERNET) return undefined;
  const inode = files.inode(directory);
  return inode === undefined ? undefined : `${name} ${index} ${inode}`;
}

/** Whether an address that was behind one interface is now seen behind another, or nowhere, though the first is still there. */
export function isElsewhere(files: KernelFiles, before: string, now: Evidence): boolean {
  const first = interfaceIn(before);
  const present = now.kind === 'interface' ? now.key : now.behind;
  if (present !== undefined && interfaceIn(present).join(' ') === first.join(' ')) return false;
  return podInterfaceKey(files, first[0] ?? '') === first.join(' ');
}

/** Every key of evidence ends with a {@link podInterfaceKey}, whose parts have no spaces: name, index and inode. */
function interfaceIn(key: string): readonly string[] {
  return key.split(' ').slice(-3);
}
