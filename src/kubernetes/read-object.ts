import type { KubernetesConnection } from './connection.ts';
import { parseJson } from './json-fields.ts';
import { statusMessage } from './watch-event.ts';

export type ObjectReading =
  | { readonly kind: 'found'; readonly object: unknown }
  | { readonly kind: 'absent' }
  /** Why it could not be read, in one line. */
  | { readonly kind: 'unknown'; readonly reason: string };

const LIMIT_MS = 5000;
const LONGEST_BYTES = 1024 * 1024;

/** Reads one object by its path. Never rejects. */
export async function readObject(
  connection: KubernetesConnection,
  path: string,
  signal: AbortSignal,
): Promise<ObjectReading> {
  try {
    const limits = { headersWithinMs: LIMIT_MS, silenceLimitMs: LIMIT_MS, signal };
    const response = await connection.request({ method: 'GET', path, ...limits });
    const text = await response.text(LONGEST_BYTES);
    if (response.status === 404) return { kind: 'absent' };
    if (response.status === 200) return { kind: 'found', object: parseJson(text) };
    return { kind: 'unknown', reason: `GET ${path} is answered ${response.status}: ${statusMessage(text)}` };
  } catch (error) {
    return { kind: 'unknown', reason: error instanceof Error ? error.message : String(error) };
  }
}
