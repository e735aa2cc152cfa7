import type { Readable } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';

/** Nothing was received for too long: the other side, or the connection to it, is gone. */
export class SilenceError extends Error {
  override readonly name = 'SilenceError';
}

/**
 * The bytes of `body` as they come; throws a {@link SilenceError} when none come for `limitMs`. Leaving early destroys `body`.
 */
export async function* limitSilence(body: Readable, clock: Clock, limitMs: number): AsyncGenerator<Buffer> {
  let lastByteMs = clock.monotonic();
  let cancel = (): void => {};
  const check = (): void => {
    const leftMs = lastByteMs + limitMs - clock.monotonic();
    if (leftMs <= 0) body.destroy(new SilenceError(`silent for ${limitMs} ms`));
    else cancel = clock.after(leftMs, check);
  };
  check();
  const chunks: AsyncIterable<Buffer> = body;
  try {
    for await (const chunk of chunks) {
      lastByteMs = clock.monotonic();
      yield chunk;
    }
  } finally {
    cancel();
  }
}

/** All of `chunks` as text; throws when they hold more than `limitBytes`. */
export async function readText(chunks: AsyncIterable<Buffer>, limitBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > limitBytes) throw new Error(`the answer is longer than ${limitBytes} bytes`);
    parts.push(chunk);
  }
  return Buffer.concat(parts, length).toString('utf8');
}

const LINE_FEED = 0x0a;

export type Line =
  | { readonly kind: 'line'; readonly text: string }
  | { readonly kind: 'too-long' }
  | { readonly kind: 'torn' };

/**
 * Splits `chunks` into lines at the byte, before decoding: a character may be split between two chunks. A line over
 * `limitBytes` is reported as `too-long` once it exceeds the limit, and skipped; bytes after the last line feed are reported as
 * `torn`. Empty lines are left out.
 */
export async function* readLines(chunks: AsyncIterable<Buffer>, limitBytes: number): AsyncGenerator<Line> {
  let parts: Buffer[] = [];
  let length = 0;
  let skipping = false;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      parts.push(chunk.subarray(start, end));
      length += end - start;
      if (!skipping && length > limitBytes) yield { kind: 'too-long' };
      else if (!skipping && length > 0) yield { kind: 'line', text: Buffer.concat(parts, length).toString('utf8') };
      parts = [];
      length = 0;
      skipping = false;
      start = end + 1;
    }
    length += chunk.length - start;
    if (skipping || length <= limitBytes) {
      if (!skipping) parts.push(chunk.subarray(start));
      continue;
    }
    parts = [];
    skipping = true;
    yield { kind: 'too-long' };
  }
  if (length > 0 && !skipping) yield { kind: 'torn' };
}
