import { chmod } from 'node:fs/promises';

import { describeError } from '#runtime/errors.ts';
import { createExplainRoute, type ExplainRouteOptions } from '#server/explain/route.ts';
import { createStatusRoute, type StatusRouteOptions } from '#server/status/route.ts';
import { createWhoisRoute, type WhoisRouteOptions } from '#server/whois/route.ts';
import { startHttpListener } from '#telemetry/http-listener.ts';

import { prepareSocket, socketPath } from './admin-socket.ts';
import type { Daemon } from './daemon.ts';

/**
 * Listens for people on this machine, on a Unix socket that only the same user can open. The daemon continues without: nothing
 * depends on it but `kiam explain`, `kiam status` and `kiam whois`.
 */
export async function startAdmin(
  adminSocket: string | undefined,
  { clock, logger, shutdown }: Daemon,
  answers: ExplainRouteOptions & StatusRouteOptions & WhoisRouteOptions,
): Promise<void> {
  const path = adminSocket ?? socketPath(process.pid);
  if (path === '') return;
  const warn = (message: string, error: unknown): void =>
    logger.warn(message, { address: path, error: describeError(error) });
  try {
    await prepareSocket(path);
  } catch (error) {
    return warn('admin: kiam explain cannot ask this server', error);
  }
  const listener = startHttpListener({
    name: 'admin',
    address: { path },
    routes: {
      '/explain': createExplainRoute(answers),
      '/status': createStatusRoute(answers),
      '/whois': createWhoisRoute(answers),
    },
    logger,
    clock,
  });
  // The folder may be one that others enter, and the umask none.
  listener.listening
    .then(() => chmod(path, 0o600))
    .catch((error: unknown) => warn('admin: the socket cannot be limited to this user', error));
  shutdown.add({ name: 'admin', limitMs: 1000, close: () => listener.close() });
}
