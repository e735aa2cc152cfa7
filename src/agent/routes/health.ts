import type { MetadataClient } from '#metadata/client.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type Answer, errorAnswer, type RouteHandler, textAnswer } from '../answer.ts';
import type { Dialect } from '../dialect.ts';
import { fromSource } from '../from-source.ts';
import type { CredentialSource } from '../ports.ts';

export interface HealthRouteOptions {
  readonly source: CredentialSource;
  readonly metadata: Pick<MetadataClient, 'get'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly waitMs: number;
  readonly dialect: Pick<Dialect, 'healthAnswer'>;
}

/** For this long an answer is reused for all callers: anybody may ask, as often as they like. */
const KEPT_MS = 1000;

/** A probe gives up after a second. */
const LONGEST_WAIT_MS = 900;

/**
 * Whether the real metadata service can be reached: its instance id, or 500. With `?deep=` and anything, the server's own
 * health comes first (Kiam, `pkg/aws/metadata/handler_health.go`).
 */
export function createHealthRoute(options: HealthRouteOptions): RouteHandler {
  const { source, metadata, clock, logger, waitMs, dialect } = options;
  const instanceId = keptAnswer(clock, async () => {
    const outcome = await metadata.get('/latest/meta-data/instance-id', { signal: new AbortController().signal });
    if (!outcome.ok) return errorAnswer(500, `metadata service: ${outcome.message}`);
    const { status, body } = outcome.answer;
    if (status !== 200) return errorAnswer(500, `metadata service: it answered ${status}`);
    return textAnswer(body.toString('utf8'));
  });
  const serverHealth = keptAnswer(clock, async () => {
    const outcome = await fromSource({ clock, logger, waitMs: Math.min(waitMs, LONGEST_WAIT_MS) }, (signal) =>
      source.serverHealth(signal),
    );
    return outcome.ok ? textAnswer(outcome.value) : errorAnswer(500, `server health: ${outcome.failure.message}`);
  });
  return async ({ query }) => {
    if ((new URLSearchParams(query).get('deep') ?? '') !== '') {
      const deep = await serverHealth();
      if (deep.status !== 200) return deep;
    }
    return dialect.healthAnswer(await instanceId());
  };
}

/** Asks at most once at a time and once a second, for everybody; a caller that leaves does not end it for the others. */
function keptAnswer(clock: Clock, ask: () => Promise<Answer>): () => Promise<Answer> {
  let kept: { readonly answer: Promise<Answer>; untilMs: number } | undefined;
  return () => {
    if (kept !== undefined && clock.monotonic() < kept.untilMs) return kept.answer;
    const asked = { answer: ask(), untilMs: Number.POSITIVE_INFINITY };
    kept = asked;
    void asked.answer.then(() => {
      asked.untilMs = clock.monotonic() + KEPT_MS;
    });
    return asked.answer;
  };
}
