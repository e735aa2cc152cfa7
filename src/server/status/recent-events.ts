import type { Clock } from '#runtime/clock.ts';
import { shortened } from '#runtime/text.ts';

export type RecentEventKind =
  /** A pod may no longer have a role that its agent had been told of. */
  | 'revoked'
  /** A node's agent opened its first stream to this replica. */
  | 'node-came'
  /** A node's agent has no more stream to this replica. */
  | 'node-left'
  /** STS began to fail for a role. */
  | 'sts-failed'
  /** STS gives credentials for a role that it had failed for. */
  | 'sts-recovered';

/** What happened to several of a kind within a minute is one event. */
export interface RecentEvent {
  /** Grows with each event; a merged one keeps its own. */
  readonly sequence: number;
  readonly kind: RecentEventKind;
  /** Milliseconds since 1970. */
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  /** How often it happened. */
  readonly count: number;
  /** The first few to whom: pods, nodes or ARNs of roles. */
  readonly subjects: readonly string[];
  /** Why, where that is known. */
  readonly detail: string;
}

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
