import { readFile } from 'node:fs/promises';

const ROOT = new URL('../../', import.meta.url);

/** A row of docs/architecture.md that counts the lines of files: before, files, count, after. */
const ROW = /^(\| [^|]+ \| )((?:`[\w./-]+\.ts`(?:, )?)+)( \| )(\d+)( \|.*)$/gm;

export interface CountedRow {
  readonly files: readonly string[];
  readonly written: number;
  readonly counted: number;
}

export async function countedRows(page: string): Promise<CountedRow[]> {
  return Promise.all(
    Array.from(page.matchAll(ROW), async ([, , list = '', , written]) => {
      const files = Array.from(list.matchAll(/`([^`]+)`/g), ([, file = '']) => file);
      return { files, written: Number(written), counted: await linesOf(files) };
    }),
  );
}

/** The page with the lines counted again. */
export async function withLineCounts(page: string): Promise<string> {
  const rows = await countedRows(page);
  let index = 0;
  return page.replace(ROW, (_, before: string, files: string, between: string, _written: string, after: string) => {
    const counted = rows[index]?.counted ?? 0;
    index += 1;
    return `${before}${files}${between}${counted}${after}`;
  });
}

async function linesOf(files: readonly string[]): Promise<number> {
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, ROOT), 'utf8')));
  return texts.reduce((sum, text) => sum + text.split('\n').length - 1, 0);
}
