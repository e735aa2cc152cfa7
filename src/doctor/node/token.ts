import { readFile } from 'node:fs/promises';

import { AGENT_TOKEN_AUDIENCE } from '#domain/agent-token.ts';

import { describeError } from '#runtime/errors.ts';

import { type Observation, ok, wrong } from '../finding.ts';

const FIX =
  `mount a projected serviceAccountToken of audience ${AGENT_TOKEN_AUDIENCE}, as deploy/agent.yaml does, ` +
  'and name its file by --agent-token-file';

/**
 * Checks the token that proves the agent's node: its file, audience and expiry. The token itself is not shown. Never rejects.
 */
export async function checkToken(path: string | undefined, nowMs: number): Promise<Observation[]> {
  if (path === undefined) return [];
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    return [wrong(`--agent-token-file: ${describeError(error)}`, FIX)];
  }
  const claims = claimsOf(text);
  if (claims === undefined) return [wrong(`${path} holds no service account token`, FIX)];
  if (!claims.audiences.includes(AGENT_TOKEN_AUDIENCE)) {
    return [
      wrong(`the token in ${path} is for ${claims.audiences.join(', ')} and not for ${AGENT_TOKEN_AUDIENCE}`, FIX),
    ];
  }
  const until = new Date(claims.expiresAtMs).toISOString();
  if (claims.expiresAtMs <= nowMs) {
    return [wrong(`the token in ${path} has ended at ${until}`, 'the kubelet renews it: is the file a copy of it?')];
  }
  return [ok(`the token in ${path} is for ${AGENT_TOKEN_AUDIENCE}, until ${until}`)];
}

/** `aud` and `exp` of a JWT (RFC 7519, 4.1); undefined for a text that is no JWT. */
function claimsOf(token: string): { readonly audiences: readonly string[]; readonly expiresAtMs: number } | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    if (typeof claims !== 'object' || claims === null || !('aud' in claims) || !('exp' in claims)) return undefined;
    if (typeof claims.exp !== 'number') return undefined;
    return { audiences: [claims.aud].flat().map(String), expiresAtMs: claims.exp * 1000 };
  } catch {
    return undefined;
  }
}
