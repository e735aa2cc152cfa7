import type { PodRecord } from '#domain/pod.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { sleep, type Clock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { KubernetesConnection } from './connection.ts';
import { eventNameOf, newEventBody, repeatedEventPatch, type Occurrence } from './event-body.ts';
import { createEventLimit, RecentMap } from './event-limits.ts';
import { apiFailureOf, type ApiFailure } from './list.ts';
import type { KubernetesMetrics } from './metrics.ts';
import { createOutageLog } from './outage-log.ts';
import { cutToBytes } from './text.ts';

/** Writes Events on pods, which is where people look first. */
export interface PodEvents {
  /** Never blocks and never throws. What cannot be sent is counted and dropped. */
  warning(pod: PodRecord, reason: 'KiamRoleForbidden' | 'KiamCredentialError', message: string): void;
  /** Sends the queued Events one after the other until the signal aborts. Never rejects. */
  run(): Promise<void>;
}

export interface PodEventsOptions {
  readonly connection: KubernetesConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: KubernetesMetrics;
  readonly signal: AbortSignal;
}

/** The API server takes messages of 1024 bytes (`pkg/apis/core/validation/events.go`). */
const LONGEST_MESSAGE_BYTES = 1024;
const MOST_REMEMBERED = 2048;
const MOST_QUEUED = 1000;
const ANSWER_WITHIN_MS = 5_000;

export function createPodEvents({ connection, clock, logger, metrics, signal }: PodEventsOptions): PodEvents {
  const mayTell = createEventLimit(clock);
  const remembered = new RecentMap<Occurrence>(MOST_REMEMBERED);
  const queue = new Set<Occurrence>();
  const outage = createOutageLog({ logger, clock, resource: 'events' });
  const backoff = createBackoff({ firstMs: 1_000, capMs: 60_000 });
  const send = createSender({ connection, clock, signal });
  let wake = (): void => {};
  signal.addEventListener('abort', () => wake(), { once: true });

  const sendOne = async (occurrence: Occurrence): Promise<void> => {
    const verb = occurrence.eventName === undefined ? 'create' : 'patch';
    const result = await send(occurrence);
    if (signal.aborted) return;
    metrics.events.inc({ outcome: result.kind });
    if (result.kind !== 'failed') {
      outage.succeeded();
      backoff.reset();
      return;
    }
    outage.failed(verb, result.failure);
    if (result.failure.status === 401) connection.renewCredentials();
    await sleep(clock, Math.max(backoff.nextMs(), Math.min(result.failure.retryAfterMs ?? 0, 60_000)), signal);
  };

  return {
    warning: (pod, reason, message) => {
      const text = cutToBytes(message, LONGEST_MESSAGE_BYTES);
      const key = JSON.stringify([pod.uid, reason, text]);
      const nowMs = clock.now();
      const known = remembered.get(key);
      if (known !== undefined) {
        known.count += 1;
        known.lastMs = nowMs;
        known.pod = pod;
        // It has not been sent yet: it will carry this repetition too.
        if (queue.has(known)) return;
      }
      if (!mayTell(pod.uid)) return metrics.events.inc({ outcome: 'limited' });
      if (queue.size >= MOST_QUEUED) return metrics.events.inc({ outcome: 'overflow' });
      const occurrence = known ?? {
        pod,
        reason,
        message: text,
        firstMs: nowMs,
        lastMs: nowMs,
        count: 1,
        eventName: undefined,
      };
      remembered.set(key, occurrence);
      queue.add(occurrence);
      wake();
    },
    run: async () => {
      while (!signal.aborted) {
        const [occurrence] = queue;
        if (occurrence === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        queue.delete(occurrence);
        await sendOne(occurrence);
      }
    },
  };
}

type SendResult =
  | { readonly kind: 'created' | 'patched' }
  /** The namespace is gone or being deleted, so it takes no Events. */
  | { readonly kind: 'unwanted' }
  | { readonly kind: 'failed'; readonly failure: ApiFailure };

function createSender(options: {
  readonly connection: KubernetesConnection;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): (occurrence: Occurrence) => Promise<SendResult> {
  const { connection, clock, signal } = options;
  let serial = 0;

  const call = async (method: 'POST' | 'PATCH', path: string, body: string): Promise<ApiFailure> => {
    const contentType = method === 'POST' ? 'application/json' : 'application/strategic-merge-patch+json';
    const limits = { headersWithinMs: ANSWER_WITHIN_MS, silenceLimitMs: ANSWER_WITHIN_MS, signal };
    return apiFailureOf(await connection.request({ method, path, body, contentType, ...limits }));
  };

  const create = async (occurrence: Occurrence, attemptsLeft: number): Promise<SendResult> => {
    serial += 1;
    const { pod } = occurrence;
    const name = eventNameOf(pod.name, clock.now(), serial);
    const answer = await call('POST', collectionOf(pod), newEventBody(occurrence, name));
    if (isSuccess(answer)) {
      occurrence.eventName = name;
      return { kind: 'created' };
    }
    if (answer.status === 409 && attemptsLeft > 0) return create(occurrence, attemptsLeft - 1);
    const terminating = answer.status === 403 && answer.message.includes('being terminated');
    return answer.status === 404 || terminating ? { kind: 'unwanted' } : { kind: 'failed', failure: answer };
  };

  const send = async (occurrence: Occurrence): Promise<SendResult> => {
    if (occurrence.eventName === undefined) return create(occurrence, 1);
    const path = `${collectionOf(occurrence.pod)}/${encodeURIComponent(occurrence.eventName)}`;
    const answer = await call('PATCH', path, repeatedEventPatch(occurrence));
    if (isSuccess(answer)) return { kind: 'patched' };
    // Events live for an hour; a deleted one is made again.
    if (answer.status !== 404) return { kind: 'failed', failure: answer };
    occurrence.eventName = undefined;
    return create(occurrence, 1);
  };

  return async (occurrence) => {
    try {
      return await send(occurrence);
    } catch (error) {
      const message = describeError(error);
      return { kind: 'failed', failure: { status: undefined, message, retryAfterMs: undefined } };
    }
  };
}

function collectionOf(pod: PodRecord): string {
  return `/api/v1/namespaces/${encodeURIComponent(pod.namespace)}/events`;
}

function isSuccess({ status }: ApiFailure): boolean {
  return status !== undefined && status >= 200 && status < 300;
}
