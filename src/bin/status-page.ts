import type { Page, PageOptions } from '#page/page.ts';
import { createTimeBudget } from '#runtime/turn-budget.ts';
import { type ListenerRoute, startHttpListener } from '#telemetry/http-listener.ts';

import type { Daemon } from './daemon.ts';

const PATHS = ['/', '/page.js', '/page.css', '/icon.svg', '/api/overview', '/api/pods', '/api/explain'];

/** Work done for the page in one turn of the event loop. */
const TURN_MS = 5;

/**
 * Serves the status page on loopback alone; port 0 is off. The server runs without it: a port that is taken is waited for.
 * The page itself is loaded when somebody opens it, so that a server that nobody looks at does not keep it in memory.
 */
export function startStatusPage(
  port: number,
  { clock, logger, shutdown }: Daemon,
  options: Omit<PageOptions, 'clock' | 'awaitTurn'>,
): void {
  if (port === 0) return;
  let loading: Promise<Page> | undefined;
  const load = async (): Promise<Page> => {
    const { createPage } = await import('#page/page.ts');
    return createPage({ ...options, clock, awaitTurn: createTimeBudget(clock, TURN_MS) });
  };
  const route: ListenerRoute = async (request, response, url) => {
    loading ??= load();
    await (
      await loading
    )(request, response, url);
  };
  const listener = startHttpListener({
    name: 'status page',
    address: { host: '127.0.0.1', port },
    routes: Object.fromEntries(PATHS.map((path) => [path, route])),
    logger,
    clock,
  });
  shutdown.add({ name: 'status page', limitMs: 1000, close: () => listener.close() });
}
