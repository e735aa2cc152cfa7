import type { Clock } from '#runtime/clock.ts';
import { SilenceError } from './body.ts';
import type { ApiRequest, ApiResponse, KubernetesConnection } from './connection.ts';

/** Makes a request; rejects as the connection does. */
export type AskPatiently = (request: Omit<ApiRequest, 'headersWithinMs' | 'newConnection'>) => Promise<ApiResponse>;

/** An API server that is reachable answers within this time, unless it queues the request. */
const PROMPT_MS = 5_000;
/**
 * API Priority and Fairness queues a request for a quarter of the API server's request time-out, 15 s by default, and more
 * where that is raised.
 */
const PATIENT_MS = 30_000;

/**
 * Waits a short time for an answer's headers, so that a dead connection is found soon. After a first time-out it waits longer,
 * because the API server may be queueing requests (API Priority and Fairness), until an answer comes quickly again. A request
 * that waits longer uses a new connection, since a half-open one would never answer.
 */
export function createPatience(connection: KubernetesConnection, clock: Clock): AskPatiently {
  let isPatient = false;
  return async (request) => {
    const startedMs = clock.monotonic();
    const headersWithinMs = isPatient ? PATIENT_MS : PROMPT_MS;
    try {
      const response = await connection.request({ ...request, headersWithinMs, newConnection: isPatient });
      isPatient = clock.monotonic() - startedMs > PROMPT_MS;
      return response;
    } catch (error) {
      isPatient ||= error instanceof SilenceError;
      throw error;
    }
  };
}
