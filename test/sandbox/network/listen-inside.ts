import { spawn } from 'node:child_process';
import { Server } from 'node:net';

import type { NetworkNamespace } from './namespaces.ts';

/**
 * Opens a listening socket inside a namespace for this process to use. `program` is how `programs/listen-inside.ts` is run: the
 * interpreter and the file. Rejects with what it said.
 */
export function listenInside(
  { exec }: NetworkNamespace,
  program: readonly string[],
  environment: Readonly<Record<string, string>>,
): (host: string, port: number) => Promise<Server> {
  return (host, port) =>
    new Promise((resolve, reject) => {
      const [command, ...args] = [...exec, ...program, host, String(port)];
      const child = spawn(command, args, { env: environment, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
      let said = '';
      child.stderr?.setEncoding('utf8');
      child.stderr?.on('data', (text: string) => {
        said += text;
      });
      child.on('message', (_message, handle) => {
        if (handle instanceof Server) resolve(handle);
      });
      child.on('error', reject);
      child.on('close', () => reject(new Error(`cannot listen on ${host}:${port}: ${said.trim()}`)));
    });
}
