import type { AllSdkResults, Outcome, SdkResults } from './sdk-results.ts';

/** The tables of docs/clients.md that were measured. */
export interface SdkTables {
  readonly late: string;
  readonly retries: string;
  readonly refused: string;
}

const LATE_MS = ['300', '800', '1500', '3000'];
const RETRIED_MS = ['300', '800', '2000'];

export function sdkTables(results: AllSdkResults): SdkTables {
  const all = Object.values(results).toSorted((one, other) => one.title.localeCompare(other.title));
  return {
    late: table(
      ['client', 'measured', ...LATE_MS.map(delay), "with Kiam's agent, up to"],
      [
        ...all.map((sdk) => [
          sdk.title,
          sdk.measured,
          ...LATE_MS.map((ms) => yesOrNo(sdk.known?.[ms])),
          longestWithKiam(sdk),
        ]),
        [
          '**served, of all**',
          '',
          ...LATE_MS.map((ms) => count(all, ms, 'known')),
          LATE_MS.map((ms) => count(all, ms, 'kiam')).join(', '),
        ],
      ],
    ),
    retries: table(
      ['client', ...RETRIED_MS.map((ms) => `known after ${delay(ms)}`), 'no role', 'denied', 'throttled (429)'],
      all.map(({ title, known, met }) => [
        title,
        ...RETRIED_MS.map((ms) => `${effort(known?.[ms])}${known?.[ms]?.served === false ? ', none' : ''}`),
        ...['no-role', 'denied', 'throttled'].map((what) => effort(met?.[what])),
      ]),
    ),
    refused: table(
      ['client', '500', 'names the cause', '200 with `Code`', 'names the cause'],
      all.map(({ title, met }) => [
        title,
        ...['refused-500', 'refused-200'].flatMap((what) => [
          effort(met?.[what]),
          met?.[what]?.tells === true ? 'yes' : 'no',
        ]),
      ]),
    ),
  };
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function delay(ms: string): string {
  return `${Number(ms).toLocaleString('en-US')} ms`;
}

function yesOrNo(outcome: Outcome | undefined): string {
  if (outcome === undefined) return '-';
  return outcome.served ? 'yes' : 'no';
}

function longestWithKiam({ kiam }: SdkResults): string {
  if (kiam === undefined) return '-';
  const longest = LATE_MS.findLast((ms) => kiam[ms]?.served === true);
  return longest === undefined ? 'none of them' : delay(longest);
}

function count(all: readonly SdkResults[], ms: string, part: 'known' | 'kiam'): string {
  const measured = all.filter((sdk) => sdk[part]?.[ms] !== undefined);
  return `${measured.filter((sdk) => sdk[part]?.[ms]?.served === true).length} of ${measured.length}`;
}

/** Requests and seconds. */
function effort(outcome: Outcome | undefined): string {
  return outcome === undefined ? '-' : `${outcome.requests}, ${(Math.max(0, outcome.tookMs) / 1000).toFixed(1)} s`;
}
