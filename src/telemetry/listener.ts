import type { Registry } from 'prom-client';
import type { Clock } from '#runtime/clock.ts';
import { sendText, startHttpListener } from './http-listener.ts';
import type { HttpListener } from './http-listener.ts';
import type { ListenAddress } from './listen-address.ts';
import type { Logger } from './logger.ts';

export interface MetricsListenerOptions {
  readonly address: ListenAddress;
  readonly registry: Registry;
  /** Why the daemon is not ready, one reason a line; none when it is. Asked at each request. */
  readonly readiness: () => readonly string[];
  readonly logger: Logger;
  readonly clock: Clock;
}

/**
 * Serves `/metrics` as Kiam does on `--prometheus-listen-addr`, and for probes `/live` (200 while the event loop turns) and
 * `/ready` (200, or 503 with the reasons).
 */
export function startMetricsListener({ registry, readiness, ...options }: MetricsListenerOptions): HttpListener {
  return startHttpListener({
    ...options,
    name: 'metrics',
    routes: {
      '/metrics': async (_request, response) => {
        sendText(response, 200, await registry.metrics(), { 'Content-Type': registry.contentType });
      },
      '/live': (_request, response) => sendText(response, 200, 'ok\n'),
      '/ready': (_request, response) => {
        const reasons = readiness();
        if (reasons.length === 0) sendText(response, 200, 'ok\n');
        else sendText(response, 503, reasons.map((reason) => `${oneLine(reason)}\n`).join(''));
      },
    },
  });
}

function oneLine(text: string): string {
  return text.replace(/[\r\n]+/g, ' ');
}
