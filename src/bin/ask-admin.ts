import { request } from 'node:http';

import { socketsOfUser } from './admin-socket.ts';

export type AdminAnswer =
  | { readonly kind: 'answered'; readonly status: number; readonly text: string }
  | { readonly kind: 'failed'; readonly reason: string };

/** The sockets of this user's servers: none if the folder does not exist or belongs to another user. */
export function findSockets(): readonly string[] {
  try {
    return socketsOfUser();
  } catch {
    return [];
  }
}

/** Asks the server that listens on a socket; undefined when nobody listens. Never rejects. */
export function askAdmin(socketPath: string, path: string, signal: AbortSignal): Promise<AdminAnswer | undefined> {
  return new Promise((resolve) => {
    const fail = (error: Error & { code?: string }): void => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
      else if (error.code === 'EACCES') resolve({ kind: 'failed', reason: `${socketPath} is another user's` });
      else resolve({ kind: 'failed', reason: signal.aborted ? 'the server does not answer' : error.message });
    };
    const outgoing = request({ socketPath, path, signal, agent: false });
    outgoing.on('error', fail);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', fail);
      incoming.on('end', () => {
        resolve({ kind: 'answered', status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') });
      });
    });
    outgoing.end();
  });
}
