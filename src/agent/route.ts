/** What a canonical path asks for. */
export type Route =
  | { readonly name: 'ping' | 'health' | 'role-name' | 'iam-info' | 'token' | 'denied' | 'proxy' }
  /** One that only another dialect than Kiam's has. */
  | { readonly name: 'own' }
  | { readonly name: 'credentials'; readonly role: string };

export type RouteName = Route['name'];

/**
 * Finds the route of a path in canonical form, decoded (docs/specification.md, 3). `{version}` is any one segment. A trailing
 * slash after a role is ignored.
 */
export function routeOf(path: string): Route {
  const iam = IAM.exec(path);
  if (iam !== null) {
    const role = iam[1];
    if (role !== undefined) return { name: 'credentials', role };
    return path.includes('/iam/info') ? IAM_INFO : ROLE_NAME;
  }
  if (path === '/ping') return PING;
  if (path === '/health') return HEALTH;
  if (TOKEN_PATH.test(path)) return TOKEN;
  return DENIED_SEGMENT.test(path) ? DENIED : PROXY;
}

const PING: Route = { name: 'ping' };
const HEALTH: Route = { name: 'health' };
const ROLE_NAME: Route = { name: 'role-name' };
const IAM_INFO: Route = { name: 'iam-info' };
const TOKEN: Route = { name: 'token' };
const DENIED: Route = { name: 'denied' };
const PROXY: Route = { name: 'proxy' };

/** The whole of `iam/` that is answered here; the first group is the role, when one is named. */
const IAM = /^\/[^/]+\/meta-data\/iam\/(?:info\/?|security-credentials(?:\/(?:(.+?)\/?)?)?)$/s;

const TOKEN_PATH = /^\/[^/]+\/api\/token$/;

/**
 * Where the node's own credentials are found. Deliberately wider than what the service is known to understand: whatever the
 * case, the version and the depth, and whatever is appended to the name.
 */
const DENIED_SEGMENT = /\/(?:iam(?![a-z0-9])|identity-credentials|security-credentials)/i;
