import type { STSClient } from '@aws-sdk/client-sts';

/**
 * Makes a client refuse to send a request whose body says anything but what the caller asked for. The SDK's serializer keeps its
 * text between two calls: after an exception in the middle of one, that call's text precedes the next call's, which may be another
 * tenant's. A refused request throws a TypeError, as any exception of our own side.
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
  const missing = new Map(Object.entries(input).filter(([, value]) => value !== undefined));
  const seen = new Set<string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (seen.has(name)) return 'it has a parameter twice';
    seen.add(name);
    if (name === 'Action' || name === 'Version') continue;
    const [member = ''] = name.split('.');
    const wanted: unknown = Reflect.get(input, member);
    if (!Object.hasOwn(input, member) || wanted === undefined) return 'it has a parameter that was not asked for';
    // Lists and maps are spread over parameters with numbers, which only their own serializer knows.
    const isScalar = typeof wanted === 'string' || typeof wanted === 'number';
    if (isScalar && (name !== member || value !== String(wanted))) return 'a parameter has another value';
    missing.delete(member);
  }
  return missing.size === 0 ? undefined : 'it lacks a parameter';
}
