/** What the fragment of the page's URL names, so that a link can be shared and the back button works. */
export type Place = { readonly kind: 'overview' } | { readonly kind: 'pod' | 'node' | 'role'; readonly name: string };

export function hashOf(place: Place): string {
  return place.kind === 'overview' ? '#' : `#${place.kind}=${encodeURIComponent(place.name)}`;
}

export function placeInHash(hash: string): Place {
  const [, kind, name = ''] = /^#(pod|node|role)=(.*)$/.exec(hash) ?? [];
  if (kind !== 'pod' && kind !== 'node' && kind !== 'role') return { kind: 'overview' };
  try {
    return { kind, name: decodeURIComponent(name) };
  } catch {
    return { kind: 'overview' };
  }
}

export function go(place: Place): void {
  location.hash = hashOf(place);
}
