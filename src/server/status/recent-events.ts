import type { Clock } from '#runtime/clock.ts';
import { shortened } from '#runtime/text.ts';

import type { RecentEvent, RecentEventKind } from './history.ts';

const MERGED_WITHIN_MS = 60_000;
const MOST_OF_KIND = 40;
const MOST_SUBJECTS = 5;
const LONGEST_TEXT = 300;

/** The last events of each kind: bounded, and no kind takes the place of another. */
export class RecentEvents {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #byKind = new Map<RecentEventKind, RecentEvent[]>();
  #sequence = 0;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  add(kind: RecentEventKind, subject: string, detail = ''): void {
    const ofKind = this.#byKind.get(kind) ?? [];
    const nowMs = this.#clock.now();
    const why = shortened(detail, LONGEST_TEXT, '...');
    const who = shortened(subject, LONGEST_TEXT, '...');
    const index = ofKind.findLastIndex((one) => one.detail === why && nowMs - one.firstAtMs < MERGED_WITHIN_MS);
    const known = ofKind[index];
    if (known === undefined) {
      this.#sequence += 1;
      const times = { firstAtMs: nowMs, lastAtMs: nowMs };
      ofKind.push({ sequence: this.#sequence, kind, ...times, count: 1, subjects: [who], detail: why });
      if (ofKind.length > MOST_OF_KIND) ofKind.shift();
    } else {
      const isListed = known.subjects.length >= MOST_SUBJECTS || known.subjects.includes(who);
      const subjects = isListed ? known.subjects : [...known.subjects, who];
      ofKind[index] = { ...known, lastAtMs: nowMs, count: known.count + 1, subjects };
    }
    this.#byKind.set(kind, ofKind);
  }

  /** Newest first. */
  all(): readonly RecentEvent[] {
    return [...this.#byKind.values()].flat().toSorted((left, right) => right.sequence - left.sequence);
  }
}
