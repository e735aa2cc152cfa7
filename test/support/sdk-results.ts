import { readFileSync, writeFileSync } from 'node:fs';

/** What the first call of a client came to. */
export interface Outcome {
  /** Whether it got the credentials of its own role. */
  readonly served: boolean;
  /** Requests to the metadata service. */
  readonly requests: number;
  /** From its first packet until the program heard of the end, credentials used or error. */
  readonly tookMs: number;
  /** Whether its error names the cause. */
  readonly tells?: boolean;
}

/** What was measured of one client: docs/clients.md has the tables. */
export interface SdkResults {
  readonly title: string;
  /** The day. */
  readonly measured: string;
  /** By the milliseconds after which its pod became known. */
  readonly known?: Readonly<Record<string, Outcome>>;
  /** Its first requests, each once. */
  readonly asked?: readonly string[];
  /** The same with Kiam's agent and server. */
  readonly kiam?: Readonly<Record<string, Outcome>>;
  /** By what it met: see retries.test.ts. */
  readonly met?: Readonly<Record<string, Outcome>>;
}

export type AllSdkResults = Readonly<Record<string, SdkResults>>;

const FILE = new URL('../../docs/clients-results.json', import.meta.url);

export function readSdkResults(file: string | URL = FILE): AllSdkResults {
  return JSON.parse(readFileSync(file, 'utf8')) as AllSdkResults;
}

/** Replaces a part of a client's results, in the file that KIAM_SDKS_RECORD names. */
export function recordSdkResults(
  name: string,
  title: string,
  part: Pick<SdkResults, 'known' | 'asked' | 'kiam' | 'met'>,
): void {
  const file = process.env['KIAM_SDKS_RECORD'];
  if (file === undefined) return;
  const all = readSdkResults(file);
  const measured = new Date().toISOString().slice(0, 10);
  const changed = { ...all, [name]: { ...all[name], title, measured, ...part } };
  writeFileSync(file, `${JSON.stringify(changed, undefined, 2)}\n`);
}
