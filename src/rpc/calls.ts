import { type Client, Metadata, type MethodDefinition, type ServiceError, status } from '@grpc/grpc-js';

import type { MethodCounts } from './metrics.ts';

export type CallResult<T> =
  | { readonly ok: true; readonly response: T }
  | { readonly ok: false; readonly code: status; readonly details: string; readonly metadata: Metadata };

/** How a call or a stream ended. */
export interface EndStatus {
  readonly code: status;
  readonly details: string;
}

/** One call to be made, of one message. */
export interface PreparedCall<Q, A> {
  readonly definition: MethodDefinition<Q, A>;
  readonly request: Q;
  /** Sent along with the call; not to be used for another one. */
  readonly metadata: Metadata;
  readonly counts: MethodCounts;
  readonly signal: AbortSignal;
}

/** The result of a call that failed before it was sent. */
export function notMade({ code, details }: EndStatus): CallResult<never> {
  return { ok: false, code, details, metadata: new Metadata() };
}

/** Makes one call, which ends at `deadline` (in milliseconds since the epoch) at the latest. Never rejects. */
export function callUnary<Q, A>(client: Client, call: PreparedCall<Q, A>, deadline: number): Promise<CallResult<A>> {
  const { definition, request, metadata, counts, signal } = call;
  return new Promise((resolve) => {
    counts.sent();
    const finish = (error: ServiceError | null, response: A | undefined): void => {
      signal.removeEventListener('abort', cancel);
      counts.handled(error?.code ?? status.OK);
      if (error !== null) resolve({ ok: false, code: error.code, details: error.details, metadata: error.metadata });
      else if (response === undefined) resolve(notMade({ code: status.INTERNAL, details: 'the answer was empty' }));
      else {
        counts.received();
        resolve({ ok: true, response });
      }
    };
    const made = client.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      request,
      metadata,
      { deadline },
      finish,
    );
    const cancel = (): void => made.cancel();
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel, { once: true });
  });
}

/** Follows a stream until it ends or the signal aborts. Never rejects. */
export function callStream<Q, A>(
  client: Client,
  { definition, request, metadata, counts, signal }: PreparedCall<Q, A>,
  onMessage: (message: A) => void,
): Promise<EndStatus> {
  counts.sent();
  const stream = client.makeServerStreamRequest(
    definition.path,
    definition.requestSerialize,
    definition.responseDeserialize,
    request,
    metadata,
  );
  return new Promise((resolve) => {
    const cancel = (): void => stream.cancel();
    stream.on('data', (message: A) => {
      counts.received();
      onMessage(message);
    });
    // The status has all that is needed; without a listener the error of a broken stream would be thrown.
    stream.on('error', () => {});
    stream.on('status', ({ code, details }) => {
      signal.removeEventListener('abort', cancel);
      counts.handled(code);
      resolve({ code, details });
    });
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel, { once: true });
  });
}
