/** A word of a POSIX shell, whatever the text holds. */
export function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Text behind a `#`: it cannot end its line, nor do anything to a terminal. */
export function comment(text: string): string {
  return `# ${text.replaceAll(/[^\x20-\x7e]/g, '?')}`;
}
