import { randomBytes } from 'node:crypto';
import type { Clock } from '#runtime/clock.ts';
import { type JsonObject, listAt, objectAt, textAt } from '../json.ts';
import type { Access, IssuedToken, User } from './access.ts';
import { noSuchPath } from './api-error.ts';
import type { ResourceRequest } from './request.ts';
import { findResource } from './resources.ts';

/** Answers TokenReview and SelfSubjectAccessReview, which are created but never stored. */
export function review(access: Access, user: User, request: ResourceRequest, body: JsonObject): JsonObject {
  const spec = objectAt(body, 'spec');
  const name = `${request.group}/${request.version}/${request.resourceName}`;
  const head = { apiVersion: `${request.group}/${request.version}`, metadata: {}, spec };
  switch (name) {
    case 'authentication.k8s.io/v1/tokenreviews':
      return { kind: 'TokenReview', ...head, status: tokenStatus(access, spec) };
    case 'authorization.k8s.io/v1/selfsubjectaccessreviews':
      return { kind: 'SelfSubjectAccessReview', ...head, status: accessStatus(access, user, spec) };
    default:
      throw noSuchPath();
  }
}

/** https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/ */
function tokenStatus(access: Access, spec: JsonObject): JsonObject {
  const token = access.review(textAt(spec, 'token'));
  if (token === undefined) return { authenticated: false, user: {}, error: 'invalid bearer token' };
  const asked = listAt(spec, 'audiences').filter((audience) => typeof audience === 'string');
  const wanted = asked.length === 0 ? [API_AUDIENCE] : asked;
  const audiences = wanted.filter((audience) => token.audiences.includes(audience));
  if (audiences.length === 0) {
    const error = `[invalid bearer token, token audiences ${JSON.stringify(token.audiences)} is invalid for the target audiences ${JSON.stringify(wanted)}]`;
    return { authenticated: false, user: {}, error };
  }
  const { name, uid, groups, extra } = token.user;
  return { authenticated: true, user: { username: name, uid, groups, extra }, audiences };
}

function accessStatus(access: Access, user: User, spec: JsonObject): JsonObject {
  const path = textAt(spec, 'nonResourceAttributes', 'path');
  const query = new URLSearchParams();
  if (path !== '') {
    const verb = textAt(spec, 'nonResourceAttributes', 'verb');
    return { allowed: access.allows(user, { kind: 'path', verb, path, query }) };
  }
  const attributes = objectAt(spec, 'resourceAttributes');
  const group = textAt(attributes, 'group');
  const resourceName = textAt(attributes, 'resource');
  const verb = VERBS.find((known) => known === textAt(attributes, 'verb'));
  if (verb === undefined) return { allowed: false };
  const request: ResourceRequest = {
    kind: 'resource',
    verb,
    group,
    version: 'v1',
    resourceName,
    resource: findResource(group, 'v1', resourceName),
    namespace: textAt(attributes, 'namespace'),
    name: textAt(attributes, 'name'),
    subresource: textAt(attributes, 'subresource'),
    query,
  };
  return { allowed: access.allows(user, request) };
}

const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'] as const;

/** The audience of tokens that are meant for the API server itself. */
export const API_AUDIENCE = 'https://kubernetes.default.svc';

export interface ServiceAccountToken {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Default: the API server's own. */
  readonly audiences?: readonly string[];
  /** Binds the token to a pod: it is valid as long as the pod is there. */
  readonly pod?: { readonly name: string; readonly uid: string };
  /** Default one hour. */
  readonly lifetimeMs?: number;
}

/**
 * Issues a token as the kubelet projects it into a pod, in the form of a JWT:
 * https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
 */
export function issueServiceAccountToken(
  access: Access,
  clock: Clock,
  request: ServiceAccountToken & { readonly node: { readonly name: string; readonly uid: string } | undefined },
): string {
  const { namespace, serviceAccount, audiences = [API_AUDIENCE], pod, node, lifetimeMs = 3_600_000 } = request;
  const expiresAtMs = clock.now() + lifetimeMs;
  const id = randomBytes(16).toString('hex');
  const extra: Record<string, readonly string[]> = { 'authentication.kubernetes.io/credential-id': [`JTI=${id}`] };
  if (pod !== undefined) {
    extra['authentication.kubernetes.io/pod-name'] = [pod.name];
    extra['authentication.kubernetes.io/pod-uid'] = [pod.uid];
  }
  if (node !== undefined) {
    extra['authentication.kubernetes.io/node-name'] = [node.name];
    extra['authentication.kubernetes.io/node-uid'] = [node.uid];
  }
  const user = {
    name: `system:serviceaccount:${namespace}:${serviceAccount}`,
    uid: `uid-${namespace}-${serviceAccount}`,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    extra,
  };
  const token: IssuedToken = {
    user,
    audiences,
    expiresAtMs,
    boundPod: pod === undefined ? undefined : { namespace, ...pod },
  };
  const claims = {
    aud: audiences,
    exp: Math.floor(expiresAtMs / 1000),
    iat: Math.floor(clock.now() / 1000),
    iss: API_AUDIENCE,
    jti: id,
    'kubernetes.io': { namespace, node, pod, serviceaccount: { name: serviceAccount, uid: user.uid } },
    sub: user.name,
  };
  const encoded = [{ alg: 'ES256', kid: 'sandbox' }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  );
  return access.issue(token, [...encoded, randomBytes(64).toString('base64url')].join('.'));
}
