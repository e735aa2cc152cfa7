import type { STSClient } from '@aws-sdk/client-sts';

/**
 * Makes a client refuse to send a request whose body differs from what the caller asked for. The SDK's serializer keeps its
 * text between two calls: after an exception in the middle of one, that call's text precedes the next call's, which may be
 * another tenant's. A refused request throws a TypeError, as any exception of our own side.
 */
export function sendOnlyWholeRequests(client: STSClient): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const problem = bodyProblem(args.request, args.input);
      if (problem !== undefined) throw new TypeError(`the request to AWS STS is not what was asked for: ${problem}`);
      return next(args);
    },
    // Bodies are serialized by now, and not signed yet: https://www.npmjs.com/package/@smithy/middleware-stack
    { step: 'build', name: 'sendOnlyWholeRequests' },
  );
}

function bodyProblem(request: unknown, input: object): string | undefined {
  const body = typeof request === 'object' && request !== null && 'body' in request ? request.body : undefined;
  if (typeof body !== 'string') return 'its body is no text';
  const wanted = new Map(parametersOf('', input));
  const seen = new Set<string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (seen.has(name)) return 'it has a parameter twice';
    seen.add(name);
    if (name === 'Action' || name === 'Version') continue;
    const text = wanted.get(name);
    if (text === undefined) return 'it has a parameter that was not asked for';
    if (value !== text) return 'a parameter has another value';
    wanted.delete(name);
  }
  return wanted.size === 0 ? undefined : 'it lacks a parameter';
}

/** An input as STS's protocol spreads it, lists by numbers: https://smithy.io/2.0/aws/protocols/aws-query-protocol.html */
function* parametersOf(name: string, value: unknown): Iterable<readonly [name: string, text: string]> {
  if (value === undefined || value === null) return;
  if (Array.isArray(value)) {
    for (const [index, member] of value.entries()) yield* parametersOf(`${name}.member.${index + 1}`, member);
  } else if (typeof value === 'object') {
    const prefix = name === '' ? '' : `${name}.`;
    for (const [field, member] of Object.entries(value)) yield* parametersOf(prefix + field, member);
  } else if (typeof value === 'string' || typeof value === 'number') yield [name, String(value)];
  else yield [name, 'neither text nor number'];
}
