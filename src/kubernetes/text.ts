/** The longest beginning of `text` that fits in `limitBytes` of UTF-8 and ends at a whole character. */
export function cutToBytes(text: string, limitBytes: number): string {
  // No more characters than bytes can fit: cutting first keeps huge texts cheap.
  const bytes = Buffer.from(text.slice(0, limitBytes), 'utf8');
  if (bytes.length <= limitBytes && text.length <= limitBytes) return bytes.toString('utf8');
  let end = Math.min(limitBytes, bytes.length);
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
