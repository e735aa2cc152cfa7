import type { Figure } from '../bench/report.ts';

/** What `npm run bench -- --keep` writes. */
export interface BenchResults {
  /** ISO 8601. */
  readonly at: string;
  readonly machine: string;
  readonly loadBefore: number;
  readonly figures: readonly Pick<Figure, 'title' | 'method' | 'rows'>[];
}

const BLOCK = /(<!-- Written by `npm run docs` from performance-results\.json\. -->\n)[^]*?(<!-- End\. -->)/;

/** docs/performance.md with the tables of a run. */
export function withResults(page: string, results: BenchResults): string {
  if (!BLOCK.test(page)) throw new Error('docs/performance.md has no place for the tables of a run');
  return page.replace(BLOCK, (_, begin: string, end: string) => `${begin}${tables(results)}${end}`);
}

function tables({ at, machine, loadBefore, figures }: BenchResults): string {
  const cores = Number.parseInt(machine, 10);
  const caveat =
    loadBefore > cores ? ' **Other work kept the machine busy: rates and latencies are worse than alone.**' : '';
  const run = `${at.slice(0, 10)}, ${machine}, load average before it ${loadBefore.toFixed(1)}.${caveat}\n`;
  return run + figures.map(table).join('');
}

function table({ title, method, rows }: BenchResults['figures'][number]): string {
  const lines = rows.map(({ figure, value, target = '' }) => `| ${[figure, value, target].map(cell).join(' | ')} |\n`);
  const how = method.map((line) => `- ${line}\n`).join('');
  const heading = title.charAt(0).toUpperCase() + title.slice(1);
  return `\n### ${heading}\n\n| figure | measured | wanted |\n|---|---|---|\n${lines.join('')}\n${how}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
