import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { ApiFailure } from './list.ts';

/** Logs an outage once with its cause, again only when the cause changes, and once when it is over. */
export interface OutageLog {
  failed(verb: string, failure: ApiFailure): void;
  succeeded(): void;
  /** The present failure in one line; undefined while there is none. */
  lastError(): string | undefined;
  /** The HTTP status of the present failure; undefined while there is none, or no answer. */
  lastStatus(): number | undefined;
}

export function createOutageLog(options: {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly resource: string;
}): OutageLog {
  const { logger, clock, resource } = options;
  let outage:
    | { readonly sinceMs: number; cause: string; lastError: string; lastStatus: number | undefined }
    | undefined;
  return {
    failed: (verb, failure) => {
      const lastError = `${verb} ${resource}: ${describe(failure)}`;
      const cause = `${verb} ${failure.status ?? failure.message}`;
      const lastStatus = failure.status;
      if (outage === undefined) outage = { sinceMs: clock.monotonic(), cause: '', lastError, lastStatus };
      outage.lastError = lastError;
      outage.lastStatus = lastStatus;
      if (outage.cause === cause) return;
      outage.cause = cause;
      logger.warn(meaning(failure), { verb, resource, status: failure.status, error: failure.message });
    },
    succeeded: () => {
      if (outage === undefined) return;
      logger.info('the Kubernetes API is back', {
        resource,
        durationMs: Math.round(clock.monotonic() - outage.sinceMs),
      });
      outage = undefined;
    },
    lastError: () => outage?.lastError,
    lastStatus: () => outage?.lastStatus,
  };
}

function meaning({ status }: ApiFailure): string {
  // An API server that has just started answers 403 until it has read the RBAC rules; that passes by itself.
  if (status === 403) {
    return 'the Kubernetes API forbids this now: the role lacks this verb on this resource, or the API server has just started';
  }
  if (status === 401) return 'the Kubernetes API does not accept the credentials that it is given';
  return 'the Kubernetes API does not answer as expected: keeping what is known and retrying';
}

function describe({ status, message }: ApiFailure): string {
  return status === undefined ? message : `${status} ${message}`.trimEnd();
}
