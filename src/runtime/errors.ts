/** How many causes of an error are followed. */
const DEEPEST_CAUSE = 4;

/**
 * One line for an error and what caused it. Node's own errors put the useful part there: a refused connection can be an
 * AggregateError without a message, and `fetch failed` says why in its cause only.
 */
export function describeError(error: unknown, depth: number = DEEPEST_CAUSE): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.message === '' ? describeUnnamed(error, depth) : error.message;
  if (error.cause === undefined || depth <= 1) return own;
  const cause = describeError(error.cause, depth - 1);
  return own.includes(cause) ? own : `${own}: ${cause}`;
}

function describeUnnamed(error: Error, depth: number): string {
  if (error instanceof AggregateError && error.errors.length > 0 && depth > 1) {
    return error.errors
      .slice(0, DEEPEST_CAUSE)
      .map((inner: unknown) => describeError(inner, depth - 1))
      .join('; ');
  }
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

/** What was thrown, as an error: anything can be thrown. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
