import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '#runtime/clock.ts';
import { ApiError } from './api-error.ts';
import type { PathRequest, ResourceRequest } from './request.ts';

/** One of a ClusterRole's `rules`: https://kubernetes.io/docs/reference/access-authn-authz/rbac/ */
export interface Rule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

export interface User {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

export interface IssuedToken {
  readonly user: User;
  readonly audiences: readonly string[];
  readonly expiresAtMs: number;
  /** The pod that the token dies with. */
  readonly boundPod: { readonly namespace: string; readonly name: string; readonly uid: string } | undefined;
}

export const ADMIN_RULES: readonly Rule[] = [
  { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
  { nonResourceURLs: ['*'], verbs: ['*'] },
];

/** Kiam's server: docs/specification.md, 11. */
export const SERVER_RULES: readonly Rule[] = [
  { apiGroups: [''], resources: ['pods', 'namespaces', 'serviceaccounts'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
];

/** What Kubernetes grants everybody who is authenticated: `system:discovery`, `system:basic-user`. */
const COMMON_RULES: readonly Rule[] = [
  {
    nonResourceURLs: [
      '/api',
      '/api/*',
      '/apis',
      '/apis/*',
      '/openapi',
      '/openapi/*',
      '/version',
      '/version/',
      '/healthz',
      '/livez',
      '/readyz',
    ],
    verbs: ['get'],
  },
  {
    apiGroups: ['authorization.k8s.io'],
    resources: ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
    verbs: ['create'],
  },
];

const ANONYMOUS: User = { name: 'system:anonymous', uid: '', groups: ['system:unauthenticated'], extra: {} };

/** Who may do what: tokens, client certificates, rules. */
export class Access {
  readonly #tokens = new Map<string, IssuedToken>();
  readonly #rules = new Map<string, readonly Rule[]>();
  readonly #clock: Clock;
  readonly #podExists: (pod: { namespace: string; name: string; uid: string }) => boolean;
  readonly #boundRules: (userName: string) => readonly Rule[];

  constructor(options: {
    clock: Clock;
    podExists: (pod: { namespace: string; name: string; uid: string }) => boolean;
    /** What objects of the API itself allow a user. */
    boundRules: (userName: string) => readonly Rule[];
  }) {
    this.#clock = options.clock;
    this.#podExists = options.podExists;
    this.#boundRules = options.boundRules;
  }

  /** Sets the rules of a user, by name; they hold from the next request on. */
  grant(userName: string, rules: readonly Rule[]): void {
    this.#rules.set(userName, rules);
  }

  issue(token: IssuedToken, text: string = randomBytes(24).toString('base64url')): string {
    this.#tokens.set(text, token);
    return text;
  }

  revoke(text: string): void {
    this.#tokens.delete(text);
  }

  /** What a token stands for while it is valid. */
  review(text: string): IssuedToken | undefined {
    const token = this.#tokens.get(text);
    if (token === undefined) return undefined;
    const alive = token.boundPod === undefined || this.#podExists(token.boundPod);
    if (token.expiresAtMs > this.#clock.now() && alive) return token;
    this.#tokens.delete(text);
    return undefined;
  }

  /** Who asks; throws a 401 for a token or certificate that is not valid. */
  authenticate(socket: TLSSocket, authorization: string | undefined): User {
    const token = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1];
    if (token !== undefined) {
      const issued = this.review(token.trim());
      if (issued === undefined) throw unauthorized();
      return issued.user;
    }
    const certificate = socket.getPeerCertificate();
    // Without a client certificate Node returns an empty object, whatever its type says.
    if (!Object.hasOwn(certificate, 'subject')) return ANONYMOUS;
    if (!socket.authorized) throw unauthorized();
    const { CN: name, O: organization = [] } = certificate.subject;
    const organizations = [organization].flat();
    return { name: [name].flat().join(''), uid: '', groups: [...organizations, 'system:authenticated'], extra: {} };
  }

  /** Throws a 403, worded as the real one, when no rule allows the request. */
  authorize(user: User, request: ResourceRequest | PathRequest): void {
    if (this.allows(user, request)) return;
    throw new ApiError(403, 'Forbidden', forbiddenText(user, request), detailsOf(request));
  }

  allows(user: User, request: ResourceRequest | PathRequest): boolean {
    const own = [...(this.#rules.get(user.name) ?? []), ...this.#boundRules(user.name)];
    const rules = user === ANONYMOUS ? own : [...own, ...COMMON_RULES];
    return rules.some((rule) => (request.kind === 'path' ? allowsPath(rule, request) : allowsResource(rule, request)));
  }
}

function allowsPath(rule: Rule, request: PathRequest): boolean {
  const verb = request.verb === 'head' ? 'get' : request.verb;
  if (!rule.verbs.includes('*') && !rule.verbs.includes(verb)) return false;
  return (rule.nonResourceURLs ?? []).some((url) =>
    url.endsWith('*') ? request.path.startsWith(url.slice(0, -1)) : request.path === url,
  );
}

function allowsResource(rule: Rule, request: ResourceRequest): boolean {
  const { apiGroups = [], resources = [], resourceNames, verbs } = rule;
  const resource = request.subresource === '' ? request.resourceName : `${request.resourceName}/${request.subresource}`;
  if (!verbs.includes('*') && !verbs.includes(request.verb)) return false;
  if (!apiGroups.includes('*') && !apiGroups.includes(request.group)) return false;
  if (!resources.includes('*') && !resources.includes(resource)) return false;
  return resourceNames === undefined || resourceNames.includes(request.name);
}

function forbiddenText(user: User, request: ResourceRequest | PathRequest): string {
  if (request.kind === 'path') return `forbidden: User "${user.name}" cannot ${request.verb} path "${request.path}"`;
  const subject = request.group === '' ? request.resourceName : `${request.resourceName}.${request.group}`;
  const resource = request.subresource === '' ? request.resourceName : `${request.resourceName}/${request.subresource}`;
  const scope = request.namespace === '' ? 'at the cluster scope' : `in the namespace "${request.namespace}"`;
  const what = request.name === '' ? subject : `${subject} "${request.name}"`;
  return `${what} is forbidden: User "${user.name}" cannot ${request.verb} resource "${resource}" in API group "${request.group}" ${scope}`;
}

function detailsOf(request: ResourceRequest | PathRequest): { name?: string; kind?: string } {
  if (request.kind === 'path') return {};
  return { kind: request.resourceName, ...(request.name === '' ? {} : { name: request.name }) };
}

function unauthorized(): ApiError {
  return new ApiError(401, 'Unauthorized', 'Unauthorized');
}
