/** Gives equal texts as one string, so that ten thousand pods keep one copy of what they share. */
export type Intern = (text: string) => string;

/** The same for short lists, such as the addresses of a node, which all of its pods have. */
export function createListInterner(limit = 10_000): (texts: readonly string[]) => readonly string[] {
  const known = new Map<string, readonly string[]>();
  return (texts) => {
    const key = texts.join(' ');
    const same = known.get(key);
    if (same !== undefined) return same;
    if (known.size >= limit) known.clear();
    known.set(key, texts);
    return texts;
  };
}

/**
 * Makes an interner of its own. It is emptied once it holds `limit` texts, which only costs memory. Long texts are not kept.
 */
export function createInterner(limit = 10_000): Intern {
  const known = new Map<string, string>();
  return (text) => {
    if (text === '' || text.length > 256) return text;
    const same = known.get(text);
    if (same !== undefined) return same;
    if (known.size >= limit) known.clear();
    known.set(text, text);
    return text;
  };
}
