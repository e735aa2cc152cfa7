import { parseAllowedRoles } from '#domain/allowed-roles.ts';
import type { NamespaceRecord } from '#domain/namespace.ts';
import type { PodRecord } from '#domain/pod.ts';

/** What `/debug/store` shows: pod addresses with namespaces and annotated roles, and the role lists of the namespaces. */
export function debugStore(pods: Iterable<PodRecord>, namespaces: Iterable<NamespaceRecord>): string {
  const byAddress = new Map<string, PodRecord | undefined>();
  for (const pod of pods) {
    if (pod.phase === 'Succeeded' || pod.phase === 'Failed') continue;
    const [address] = pod.addresses;
    // Of two pods with one address neither is shown.
    if (address !== undefined) byAddress.set(address, byAddress.has(address) ? undefined : pod);
  }
  const single = [...byAddress].flatMap(([address, pod]) => (pod === undefined ? [] : [[address, pod] as const]));
  return JSON.stringify({
    namespaceByIP: sorted(single.map(([address, pod]) => [address, pod.namespace])),
    rolesByIP: sorted(single.map(([address, pod]) => [address, pod.annotated.role])),
    rolesByNamespace: sorted(
      [...namespaces].map(({ name, permitted }) => [name, parseAllowedRoles(permitted) ?? null]),
    ),
  });
}

/** Go's JSON encoder sorts the keys of maps. */
function sorted<T>(entries: readonly (readonly [string, T])[]): Readonly<Record<string, T>> {
  return Object.fromEntries(entries.toSorted(([left], [right]) => (left < right ? -1 : 1)));
}
