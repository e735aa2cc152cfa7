import type { Bundles } from './bundles.ts';

export interface Setting {
  readonly bundles: Bundles;
  /** Shorter runs, for a look; the figures are then noisier. */
  readonly quick: boolean;
}
