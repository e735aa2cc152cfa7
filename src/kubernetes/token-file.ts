import { readFileSync } from 'node:fs';
import type { Clock } from '#runtime/clock.ts';
import { asError } from '#runtime/errors.ts';

export interface TokenFiles {
  /**
   * The file's token, read at most once a minute, as client-go does. The last one counts while it cannot be read. Throws before
   * the first.
   */
  read(path: string): string;
  /** The API server no longer accepts it: the next call reads the file. */
  forget(): void;
}

const KEPT_MS = 60_000;

export function createTokenFiles(clock: Clock): TokenFiles {
  let kept: { readonly path: string; readonly token: string; readonly untilMs: number } | undefined;
  return {
    read: (path) => {
      const nowMs = clock.monotonic();
      if (kept?.path === path && nowMs < kept.untilMs) return kept.token;
      const token = readToken(path);
      if (token instanceof Error || token === '') {
        if (kept?.path === path) return kept.token;
        throw token === '' ? new Error(`${path} holds no token`) : token;
      }
      kept = { path, token, untilMs: nowMs + KEPT_MS };
      return token;
    },
    forget: () => {
      if (kept !== undefined) kept = { ...kept, untilMs: 0 };
    },
  };
}

/** Without the line feed at the end of many such files, which node:http refuses to send. */
function readToken(path: string): string | Error {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    return asError(error);
  }
}
