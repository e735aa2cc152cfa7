import type { ServerResponse } from 'node:http';
import { ApiError } from './api-error.ts';
import type { PathRequest, ResourceRequest, Verb } from './request.ts';

/** What goes wrong with requests: an HTTP status, no answer at all, or a connection that is cut. */
export interface Fault {
  readonly answer: number | 'hang' | 'reset';
  /** How many requests it meets. Default 1. */
  readonly times?: number;
  /** Only these requests; all when left out. */
  readonly verb?: Verb;
  readonly resource?: string;
  readonly retryAfterSeconds?: number;
}

const REASONS: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  410: 'Expired',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

/** Faults that wait for the requests they are meant for. */
export class Faults {
  #faults: { readonly fault: Fault; left: number }[] = [];

  add(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? 1 });
  }

  clear(): void {
    this.#faults = [];
  }

  take(request: ResourceRequest | PathRequest): Fault | undefined {
    const found = this.#faults.find(({ fault }) => meets(fault, request));
    if (found === undefined) return undefined;
    found.left -= 1;
    if (found.left <= 0) this.#faults = this.#faults.filter((one) => one !== found);
    return found.fault;
  }
}

/** Lets a fault happen. True when the request is to be left alone. */
export function happen(fault: Fault, response: ServerResponse): boolean {
  if (fault.answer === 'hang') return true;
  if (fault.answer === 'reset') {
    response.destroy();
    return true;
  }
  if (fault.retryAfterSeconds !== undefined) response.setHeader('retry-after', fault.retryAfterSeconds);
  throw new ApiError(fault.answer, REASONS[fault.answer] ?? 'Unknown', 'the sandbox was told to refuse this request', {
    retryAfterSeconds: fault.retryAfterSeconds,
  });
}

function meets(fault: Fault, request: ResourceRequest | PathRequest): boolean {
  if (fault.verb === undefined && fault.resource === undefined) return true;
  if (request.kind === 'path') return false;
  return (
    (fault.verb === undefined || fault.verb === request.verb) &&
    (fault.resource === undefined || fault.resource === request.resourceName)
  );
}
