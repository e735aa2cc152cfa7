/** What a check found. */
export type Observation =
  | { readonly verdict: 'ok'; readonly says: string }
  /** `fix` says what to do about it, in one line. */
  | { readonly verdict: 'wrong' | 'cannot tell'; readonly says: string; readonly fix: string };

/** An observation with the name of the check that made it: one line of the report. */
export type Finding = Observation & { readonly check: string };

export function ok(says: string): Observation {
  return { verdict: 'ok', says };
}

export function wrong(says: string, fix: string): Observation {
  return { verdict: 'wrong', says, fix };
}

export function cannotTell(says: string, fix: string): Observation {
  return { verdict: 'cannot tell', says, fix };
}
