/** Which interface a pod's traffic comes in by: what iptables' `-i` gets. */
export interface HostInterface {
  /** `!eth0`: every interface but this one. */
  readonly inverted: boolean;
  /** A name, or the beginning of names with a `+` behind it, which is iptables' wildcard; `+` alone is every interface. */
  readonly name: string;
}

/** Packets that come in by whatever interface: iptables takes `-i +` for no match at all, and prints none (iptables(8)). */
export const ANY_INTERFACE: HostInterface = { inverted: false, name: '+' };

export function isAnyInterface({ inverted, name }: HostInterface): boolean {
  return !inverted && name === ANY_INTERFACE.name;
}

export type HostInterfaceResult =
  | { readonly ok: true; readonly hostInterface: HostInterface }
  | { readonly ok: false; readonly reason: string };

/** IFNAMSIZ is 16 with the closing zero byte (linux/if.h); iptables holds a wildcard's `+` to the same limit. */
const LONGEST_NAME = 15;

/**
 * The kernel allows more in a name (dev_valid_name in net/core/dev.c); no CNI plugin uses it. A name that begins with a
 * hyphen would be read as an option, and quotes or blanks would change the meaning of a rule.
 */
const NAME = /^[A-Za-z0-9_.][A-Za-z0-9_.-]*\+?$/;

/** Reads the value of `--host-interface` (docs/specification.md, 2): `docker0`, `eni+`, `!eth0`, or `+` for every interface. */
export function parseHostInterface(text: string): HostInterfaceResult {
  const inverted = text.startsWith('!');
  const name = inverted ? text.slice(1) : text;
  if (name === '') return { ok: false, reason: 'the name of the interface is missing' };
  if (name === ANY_INTERFACE.name)
    return inverted
      ? { ok: false, reason: 'no interface is other than every interface' }
      : { ok: true, hostInterface: ANY_INTERFACE };
  if (name.length > LONGEST_NAME) return { ok: false, reason: `the name is longer than ${LONGEST_NAME} characters` };
  if (!NAME.test(name) || name === '.' || name === '..') {
    return {
      ok: false,
      reason: 'the name may have letters, digits, dots, hyphens and underscores, and a + at its end',
    };
  }
  return { ok: true, hostInterface: { inverted, name } };
}

/** The match as iptables reads and prints it; '' for every interface. */
export function interfaceMatch(hostInterface: HostInterface): string {
  const { inverted, name } = hostInterface;
  return isAnyInterface(hostInterface) ? '' : `${inverted ? '! ' : ''}-i ${name}`;
}

/** Whether no packet can satisfy both matches; in doubt it is said that one can. */
export function areDisjoint(one: HostInterface, other: HostInterface): boolean {
  if (one.inverted && other.inverted) return false;
  if (one.inverted) return covers(one.name, other.name);
  if (other.inverted) return covers(other.name, one.name);
  return !covers(one.name, other.name) && !covers(other.name, one.name);
}

/** Whether every interface that `narrow` stands for is one that `wide` stands for. */
function covers(wide: string, narrow: string): boolean {
  return wide.endsWith('+') ? narrow.startsWith(wide.slice(0, -1)) : wide === narrow;
}
