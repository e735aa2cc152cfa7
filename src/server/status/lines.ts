/** No line is longer, in characters. */
export const WIDTH = 100;
/** A screen has so many lines of each list; `--json` has all. */
export const MOST_LINES = 20;

export type Colour = 'red' | 'yellow' | 'green' | 'none';
const CODES: Readonly<Record<Colour, string>> = {
  red: '\u001b[31m',
  yellow: '\u001b[33m',
  green: '\u001b[32m',
  none: '',
};

export interface ScreenLine {
  readonly text: string;
  readonly colour: Colour;
}

export function moreLines(count: number): ScreenLine[] {
  return count > 0 ? [plain(`... and ${count} more: --json has them`)] : [];
}

export function plain(text: string): ScreenLine {
  return { text, colour: 'none' };
}

export interface Row {
  readonly cells: readonly string[];
  readonly colour: Colour;
}

export function worstFirst(rows: readonly Row[]): readonly Row[] {
  return rows.toSorted((left, right) => rank(left) - rank(right));
}

function rank({ colour }: Row): number {
  return ['red', 'yellow', 'none', 'green'].indexOf(colour);
}

export function table(
  title: string,
  head: readonly string[],
  widths: readonly number[],
  rows: readonly Row[],
  total = rows.length,
): ScreenLine[] {
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, index) => fit(cell, widths[index] ?? 0).padEnd(widths[index] ?? 0))
      .join(' ')
      .trimEnd();
  const shown = rows.slice(0, MOST_LINES);
  return [
    ...(title === '' ? [] : [plain(''), plain(title)]),
    plain(line(head)),
    ...shown.map(({ cells, colour }) => ({ text: line(cells), colour })),
    ...moreLines(total - shown.length),
  ];
}

/** Annotations may hold what a terminal takes for commands. */
export function fit(text: string, width: number): string {
  const printable = text.slice(0, 4 * WIDTH).replaceAll(/[^\x20-\x7e]/g, '?');
  return printable.length <= width ? printable : `${printable.slice(0, width - 3)}...`;
}

export function coloured(text: string, colour: Colour, isTerminal: boolean): string {
  return isTerminal && CODES[colour] !== '' ? `${CODES[colour]}${text}\u001b[0m` : text;
}
