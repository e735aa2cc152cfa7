import type { Registry } from 'prom-client';
import type { Clock } from '#runtime/clock.ts';
import { oneLine } from '#runtime/text.ts';

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
 * Serves `/metrics` as Kiam does on `--prometheus-listen-addr`, at most a second old, and for probes `/live` (200 while the
 * event loop turns) and `/ready` (200, or 503 with the reasons).
 */
export function startMetricsListener({ registry, readiness, ...options }: MetricsListenerOptions): HttpListener {
  const render = createRendering(registry, options.clock);
  return startHttpListener({
    ...options,
    name: 'metrics',
    routes: {
      '/metrics': async (_request, response) => {
        sendText(response, 200, await render(), { 'Content-Type': registry.contentType });
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

/** For this long a rendered text is reused for all callers, who may be anybody that reaches the address. */
const KEPT_MS = 1000;

/** Renders the metrics once at a time and once a second at most, whoever asks. */
export function createRendering(registry: Registry, clock: Clock): () => Promise<Buffer> {
  let kept: { readonly text: Promise<Buffer>; untilMs: number } | undefined;
  const render = async (): Promise<Buffer> => Buffer.from(await registry.metrics());
  return () => {
    if (kept !== undefined && clock.monotonic() < kept.untilMs) return kept.text;
    const rendering = { text: render(), untilMs: Number.POSITIVE_INFINITY };
    kept = rendering;
    const settle = (): void => {
      rendering.untilMs = clock.monotonic() + KEPT_MS;
    };
    rendering.text.then(settle, settle);
    return rendering.text;
  };
}
