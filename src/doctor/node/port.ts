import { createServer } from 'node:net';

import type { Clock } from '#runtime/clock.ts';

import { askHttp } from '../ask-http.ts';
import { localEnd } from '../daemon.ts';
import { type Observation, cannotTell, ok, wrong } from '../finding.ts';
import { LISTENERS, whoListens } from '../who-listens.ts';

export interface PortCheckOptions {
  /** `--listen-address`; `''` is all. */
  readonly host: string;
  readonly port: number;
  /** The agent is about to start, and needs the port. */
  readonly beforeStart: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Which program listens on the port that pods are redirected to. Never rejects. */
export async function checkPort(options: PortCheckOptions): Promise<Observation[]> {
  const { port, beforeStart } = options;
  if (port === 0) return [cannotTell('with --port=0 the port is not known', 'give the agent a --port')];
  const place = { ...localEnd(options), clock: options.clock, signal: options.signal };
  const ping = await askHttp({ ...place, path: '/ping' });
  if (!ping.ok && ping.reason === 'ECONNREFUSED') {
    if (beforeStart) return [await tryPort(options)];
    const fix = 'does the agent run? its log says `cannot listen for pods yet` when it cannot have the port';
    return [wrong(`nobody listens on port ${port}, to which pods are redirected`, fix)];
  }
  const who = await whoListens(place);
  if (who === 'agent' && !beforeStart) return [ok(`the agent listens on port ${port}`)];
  const fix = `give --port another, or stop what has it: \`ss -ltnp sport = :${port}\` on the node`;
  return [wrong(`port ${port} is in use by ${LISTENERS[who]}`, fix)];
}

/** Whether the port is free; it is released at once. */
function tryPort({ host, port }: PortCheckOptions): Promise<Observation> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', (error: NodeJS.ErrnoException) => {
      const fix = 'give --port one above 1023, and --listen-address an address of this node';
      resolve(wrong(`port ${port} cannot be used: ${error.code ?? error.message}`, fix));
    });
    server.listen({ port, ...(host === '' ? {} : { host }) }, () => {
      server.close(() => resolve(ok(`port ${port} is free`)));
    });
  });
}
