import { LRUCache } from 'lru-cache';
import type { StsFailure } from './sts.ts';

export interface SessionDurations {
  /** The length to ask for, in seconds. */
  secondsFor(roleArn: string): number;
  /** Remembers that STS refused a length for the role, and returns a shorter one to try; undefined when there is none. */
  shorten(roleArn: string, refusedSeconds: number): number | undefined;
}

/**
 * Lengths that are tried when the wanted one is refused, in seconds. Every role allows an hour, and chained sessions no more:
 * https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html; 15 minutes is the least that can be asked for.
 */
const SHORTER = [3600, 1800, 900] as const;

/** A role that was forgotten costs one more refused call. */
const MOST_ROLES = 10_000;

/** Remembers the session length that STS allows for each role, as long as the process runs. */
export function createSessionDurations(wantedSeconds: number): SessionDurations {
  const allowed = new LRUCache<string, number>({ max: MOST_ROLES });
  return {
    secondsFor: (roleArn) => allowed.get(roleArn) ?? wantedSeconds,
    shorten: (roleArn, refusedSeconds) => {
      const shorter = SHORTER.find((seconds) => seconds < refusedSeconds);
      const known = allowed.get(roleArn);
      if (shorter !== undefined && (known === undefined || shorter < known)) allowed.set(roleArn, shorter);
      return shorter;
    },
  };
}

/** Whether STS refused a call for the length of its session alone: it names the parameter and uses this code for both limits. */
export function isSessionTooLong({ code, detail }: StsFailure): boolean {
  return code === 'ValidationError' && /DurationSeconds/i.test(detail);
}
