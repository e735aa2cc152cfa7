import { shortened } from '#runtime/text.ts';

/** `no` breaks the chain; `unknown` leaves it open; `note` is worth knowing and changes nothing. */
export type LinkVerdict = 'ok' | 'no' | 'unknown' | 'note';

type FactValue = string | number | boolean | readonly string[] | null;

/** One link of the chain from a pod to its credentials. */
export interface Link {
  readonly link: string;
  readonly verdict: LinkVerdict;
  /** For people, without secrets; annotations in it may hold any character. */
  readonly text: string;
  /** The same for programs. Times are in seconds, moments in UTC. */
  readonly facts: Readonly<Record<string, FactValue>>;
}

export type ExplainedOutcome = 'gets credentials' | 'gets nothing' | 'is permitted its role' | 'cannot be told';

/** What comes of a pod and why. Nothing in it is secret: no key, no token, no external id. */
export interface Explanation {
  /** `namespace/name` */
  readonly pod: string;
  readonly isFound: boolean;
  readonly outcome: ExplainedOutcome;
  /** The link that decides it, in its words; for credentials the ARN of the role. */
  readonly because: string;
  readonly links: readonly Link[];
  /** Who says so. */
  readonly source: string;
}

/** Annotations may be longer than anybody reads. */
const LONGEST_QUOTE = 300;

/** A text that others wrote, in quotes. */
export function quoted(text: string): string {
  return JSON.stringify(shortened(text, LONGEST_QUOTE, '...'));
}

/** A time for people: `0.4s`, `12s`, `4m12s`, `1h3m`. */
export function spoken(durationMs: number): string {
  if (!Number.isFinite(durationMs)) return 'an unknown time';
  const ms = Math.max(0, durationMs);
  if (ms < 9950) return `${(ms / 1000).toFixed(1)}s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes}m${seconds % 60}s` : `${Math.floor(minutes / 60)}h${minutes % 60}m`;
}

/** Whole seconds for programs; null for a time without an end. */
export function inSeconds(durationMs: number): number | null {
  return Number.isFinite(durationMs) ? Math.round(durationMs / 1000) : null;
}
