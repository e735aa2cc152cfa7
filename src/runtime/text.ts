/** The beginning of a text, of at most so many UTF-16 units; it never ends in the middle of a character. */
export function beginningOf(text: string, mostUnits: number): string {
  if (text.length <= mostUnits) return text;
  const last = text.charCodeAt(mostUnits - 1);
  const splitsPair = last >= 0xd800 && last <= 0xdbff;
  return text.slice(0, splitsPair ? mostUnits - 1 : mostUnits);
}

/** A text for people: where it is longer, its beginning and an ellipsis. */
export function shortened(text: string, mostUnits: number, ellipsis = '…'): string {
  return text.length > mostUnits ? beginningOf(text, mostUnits) + ellipsis : text;
}

/** A text that stays one line wherever it is shown: control characters and line separators become spaces. */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ');
}

/** A text of others for a terminal, which could take parts of it for commands: all but printable ASCII and line feeds is `?`. */
export function forTerminal(text: string): string {
  return text.replaceAll(/[^\n\x20-\x7e]/g, '?');
}
