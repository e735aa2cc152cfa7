import type { Parsed } from './option.ts';

/** `!` inverts; the name has at most 15 bytes (IFNAMSIZ); `+` at its end is iptables' wildcard: iptables(8), `--in-interface`. */
const HOST_INTERFACE = /^!?[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,14}\+?$/;

export function parseHostInterface(text: string): Parsed<string> {
  const name = text.startsWith('!') ? text.slice(1) : text;
  return name.length <= 15 && HOST_INTERFACE.test(text)
    ? { ok: true, value: text }
    : { ok: false, reason: 'is not an interface such as docker0, cali+ or !eth0' };
}
