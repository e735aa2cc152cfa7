import { isIPv6, type ListenOptions, type Server } from 'node:net';

import { createBackoff } from './backoff.ts';
import type { Clock } from './clock.ts';

/** An address, or a Unix socket by its path. */
export type ListenTarget =
  /** `''` is all addresses. */
  { readonly host: string; readonly port: number } | { readonly path: string };

export interface ListenWhenFreeOptions {
  readonly target: ListenTarget;
  readonly clock: Clock;
  /**
   * Lets another process of the same user listen on the same port at the same time (SO_REUSEPORT, socket(7); an
   * error where the system cannot): the kernel then gives each new connection to one of them. Default false.
   */
  readonly sharesPort?: boolean;
  /** Ends the attempts. */
  readonly signal: AbortSignal;
  /** Called once with the first reason why it cannot listen yet. */
  readonly onWait: (error: Error) => void;
}

/**
 * Listens as soon as the address is free, and resolves with the port (0 for a socket); never when `signal` aborts before.
 * An address that is taken is tried again for ever: the previous process of a rolling update may still hold it.
 */
export function listenWhenFree(server: Server, options: ListenWhenFreeOptions): Promise<number> {
  const { target, sharesPort = false, clock, signal, onWait } = options;
  const sharing = sharesPort ? { reusePort: true } : {};
  const backoff = createBackoff({ firstMs: 250, capMs: 5000 });
  let waits = false;
  const attempt = (): void => {
    if (!signal.aborted)
      server.listen('path' in target ? target : { port: target.port, ...hostOptions(target.host), ...sharing });
  };
  return new Promise((resolve) => {
    server.on('error', (error) => {
      if (!waits) onWait(error);
      waits = true;
      clock.after(backoff.nextMs(), attempt);
    });
    server.once('listening', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
    attempt();
  });
}

/** Go listens on the IPv4 address of a name that has both, and node on the first that the resolver gives. */
export function hostOptions(host: string): Pick<ListenOptions, 'host' | 'ipv6Only'> {
  if (host === '') return {};
  if (host === 'localhost') return { host: '127.0.0.1' };
  return isIPv6(host) ? { host, ipv6Only: false } : { host };
}
