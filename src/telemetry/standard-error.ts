import { writeSync } from 'node:fs';

const STANDARD_ERROR = 2;

/**
 * Writes lines to standard error before it returns. When nobody reads (a full pipe that does not block, a closed one), lines
 * are lost rather than waited for: a stuck log collector must not stop the pods' credentials. A line that was begun is
 * finished before the next one.
 */
export function createStandardErrorWriter(
  write: (descriptor: number, bytes: Uint8Array) => number = writeSync,
): (line: string) => void {
  let unfinished: Uint8Array = new Uint8Array();
  const writeAll = (bytes: Uint8Array): Uint8Array => {
    let rest = bytes;
    try {
      while (rest.length > 0) rest = rest.subarray(write(STANDARD_ERROR, rest));
    } catch {
      // There is no other place to report it.
    }
    return rest;
  };
  return (line) => {
    unfinished = writeAll(unfinished);
    if (unfinished.length > 0) return;
    const bytes = Buffer.from(line);
    const rest = writeAll(bytes);
    if (rest.length < bytes.length) unfinished = rest;
  };
}
