/** Why the kernel tells nothing about who has an address. Each is a value of a metric's label. */
export type NoEvidence =
  /** Not an address in canonical form, or a table that could not be read. */
  | 'unreadable'
  /** No route to it, one through a gateway, or several equally good ones. */
  | 'no direct route'
  /** The device serves a whole subnet and is no bridge: a tunnel, an overlay's gateway, the uplink. */
  | 'route for many'
  /** Other addresses are reached through the same device or bridge port. */
  | 'shared interface'
  /** The device or bridge port does not end in a pod: an uplink, a tunnel, macvlan, ipvlan. */
  | 'not a pod interface'
  /** On a bridge: the neighbour is not (or not yet) in the neighbour table. */
  | 'no neighbour'
  /** On a bridge: the neighbour's MAC has not been seen at any port, or at several. */
  | 'no bridge port';

/**
 * The kernel's evidence of who has an address. `key` stands for one interface of the node that belongs to the address
 * alone and goes with its pod; it may only be compared.
 */
export type Evidence =
  | { readonly kind: 'interface'; readonly key: string }
  | { readonly kind: 'none'; readonly reason: NoEvidence };

/** Whether an address is surely in the hands it was in before. No evidence, before or now, is no. */
export function unchanged(before: Evidence, now: Evidence): boolean {
  return before.kind === 'interface' && now.kind === 'interface' && before.key === now.key;
}

export function noEvidence(reason: NoEvidence): Evidence {
  return { kind: 'none', reason };
}
