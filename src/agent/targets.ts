import { LRUCache } from 'lru-cache';

import { type CanonicalTarget, canonicalTarget } from './canonical-path.ts';
import type { Route } from './route.ts';

/** A request's target as it is understood, and what it asks for. */
export type Target =
  | (Extract<CanonicalTarget, { ok: true }> & { readonly route: Route })
  | Extract<CanonicalTarget, { ok: false }>;

/** A node's pods ask for a few targets again and again. Longer ones are not worth their memory. */
const MOST_REMEMBERED = 256;
const LONGEST_REMEMBERED = 256;

/** Parses raw targets. The result depends on nothing else, so recent ones are remembered. */
export function createTargets(routeOf: (path: string) => Route): (raw: string) => Target {
  const remembered = new LRUCache<string, Target>({ max: MOST_REMEMBERED });
  return (raw) => {
    const known = remembered.get(raw);
    if (known !== undefined) return known;
    const target = canonicalTarget(raw);
    const understood = target.ok ? { ...target, route: routeOf(target.path) } : target;
    if (raw.length <= LONGEST_REMEMBERED) remembered.set(raw, understood);
    return understood;
  };
}
