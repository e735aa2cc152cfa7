/** One line of the table. */
export interface Row {
  readonly figure: string;
  readonly value: string;
  /** What it is held against; nothing is enforced here. */
  readonly target?: string;
}

export interface Figure {
  readonly name: string;
  readonly title: string;
  /** How it was measured, and what limits the measurement. */
  readonly method: readonly string[];
  readonly rows: readonly Row[];
  /** The same and more, for programs. */
  readonly data: unknown;
}

export function printFigure({ name, title, method, rows }: Figure, tookMs: number): void {
  console.log(`\n${name}  ${title}  (${(tookMs / 1000).toFixed(0)} s)`);
  const widths = [longest(rows.map((row) => row.figure)), longest(rows.map((row) => row.value))];
  for (const { figure, value, target } of rows) {
    const beside = target === undefined ? '' : `  wanted: ${target}`;
    console.log(`  ${figure.padEnd(widths[0] ?? 0)}  ${value.padEnd(widths[1] ?? 0)}${beside}`.trimEnd());
  }
  for (const line of method) console.log(`  - ${line}`);
}

function longest(texts: readonly string[]): number {
  return Math.max(...texts.map((text) => text.length));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

export function fixed(value: number, digits = 0): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** `120 x 200, 3 x 429`; a broken connection has no status. */
export function statusText(statuses: Readonly<Record<string, number>>): string {
  return Object.entries(statuses)
    .map(([status, count]) => `${fixed(count)} x ${status === '0' ? 'broken' : status}`)
    .join(', ');
}
