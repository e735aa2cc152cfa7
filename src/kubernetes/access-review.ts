import { describeError } from '#runtime/errors.ts';

import type { KubernetesConnection } from './connection.ts';
import { field, parseJson, textField } from './json-fields.ts';
import { statusMessage } from './watch-event.ts';

/** A verb on a resource, in all namespaces. */
export interface Access {
  /** `''` is the core group. */
  readonly group: string;
  /** With its subresource, as in rules: `pods`, `nodes/status`. */
  readonly resource: string;
  readonly verb: string;
}

export type AccessReview =
  | { readonly kind: 'allowed' }
  | { readonly kind: 'denied'; readonly reason: string }
  /** The API server could not be asked. */
  | { readonly kind: 'unknown'; readonly reason: string };

/**
 * Asks the API server whether this program's own user may do something
 * (https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/). Every
 * authenticated user may ask. Never rejects.
 */
export async function reviewOwnAccess(
  connection: KubernetesConnection,
  access: Access,
  signal: AbortSignal,
): Promise<AccessReview> {
  const [resource, subresource] = access.resource.split('/');
  try {
    const response = await connection.request({
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      contentType: 'application/json',
      body: JSON.stringify({
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: { ...access, resource, ...(subresource === undefined ? {} : { subresource }) } },
      }),
      headersWithinMs: 5000,
      silenceLimitMs: 5000,
      signal,
    });
    const text = await response.text(64 * 1024);
    if (response.status !== 201) return { kind: 'unknown', reason: `${response.status} ${statusMessage(text)}` };
    const status = field(parseJson(text), 'status');
    if (field(status, 'allowed') === true) return { kind: 'allowed' };
    return { kind: 'denied', reason: textField(status, 'reason') };
  } catch (error) {
    return { kind: 'unknown', reason: describeError(error) };
  }
}
