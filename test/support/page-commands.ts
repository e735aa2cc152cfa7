/** The commands in the fenced blocks of one section of a page, as they stand there. */
export function commandsOf(page: string, section: string): string[] {
  const start = page.indexOf(`\n## ${section}\n`);
  if (start === -1) throw new Error(`the page has no section "${section}"`);
  const end = page.indexOf('\n## ', start + 1);
  const text = page.slice(start, end === -1 ? undefined : end);
  return Array.from(text.matchAll(/^ *```\n([^`]+)```/gm), ([, block = '']) => block)
    .flatMap((block) => block.split('\n'))
    .map((line) => line.trim())
    .filter((line) => line !== '');
}
