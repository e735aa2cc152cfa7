import { oneLine, shortened } from '#runtime/text.ts';

/** Whether an agent has its redirect, or its guard, in place; `off` where it was not told to keep them. */
export type RuleReport = 'present' | 'missing' | 'unknown' | 'off';

/**
 * What an agent says of itself beside its readiness, for people. It proves nothing: root on a node can have its agent say
 * anything.
 */
export interface NodeDetails {
  readonly version: string;
  readonly redirect: RuleReport;
  readonly guard: RuleReport;
  /** The last warning or error of its own. */
  readonly lastError: LastError | undefined;
  /** How many pods its store holds. */
  readonly pods: number;
}

export interface LastError {
  readonly text: string;
  /** In milliseconds since the epoch, by the agent's clock. */
  readonly atMs: number;
}

const LONGEST_VERSION = 40;
const LONGEST_TEXT = 300;

/** Details as they are shown: an agent's text is not trusted. */
export function cleanDetails({ version, lastError, ...details }: NodeDetails): NodeDetails {
  const clean = (text: string, most: number): string => shortened(oneLine(text.toWellFormed()), most, '...');
  return {
    ...details,
    version: clean(version, LONGEST_VERSION),
    lastError: lastError && { text: clean(lastError.text, LONGEST_TEXT), atMs: lastError.atMs },
  };
}
