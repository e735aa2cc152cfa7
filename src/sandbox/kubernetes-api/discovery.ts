import type { Json, JsonObject } from '../json.ts';
import { type Resource, RESOURCES } from './resources.ts';

const READ_AND_WRITE = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

/** Groups that are served for reviews alone. */
const REVIEW_GROUPS: Readonly<
  Record<string, { readonly version: string; readonly reviews: readonly (readonly [string, string])[] }>
> = {
  'authentication.k8s.io': { version: 'v1', reviews: [['tokenreviews', 'TokenReview']] },
  'authorization.k8s.io': { version: 'v1', reviews: [['selfsubjectaccessreviews', 'SelfSubjectAccessReview']] },
};

const VERSION = {
  major: '1',
  minor: '32',
  gitVersion: 'v1.32.4',
  gitCommit: '0000000000000000000000000000000000000000',
  gitTreeState: 'clean',
  buildDate: '2025-04-22T16:02:58Z',
  goVersion: 'go1.23.6',
  compiler: 'gc',
  platform: 'linux/amd64',
};

/** The answer to a path that belongs to no resource; undefined when there is nothing there. A text is sent as plain text. */
export function discover(path: string, address: string): JsonObject | string | undefined {
  const clean = path.length > 1 ? path.replace(/\/$/, '') : path;
  switch (clean) {
    case '/version':
      return VERSION;
    case '/healthz':
    case '/livez':
    case '/readyz':
      return 'ok';
    case '/api':
      return {
        kind: 'APIVersions',
        versions: ['v1'],
        serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: address }],
      };
    case '/api/v1':
      return resourceList('v1', RESOURCES.flatMap(describeResource));
    case '/apis':
      return { kind: 'APIGroupList', apiVersion: 'v1', groups: Object.keys(REVIEW_GROUPS).map(describeGroup) };
    case '/openapi/v3':
      return { paths: { 'api/v1': { serverRelativeURL: '/openapi/v3/api/v1?hash=1' } } };
    case '/openapi/v3/api/v1':
      return openApi();
    default:
      return discoverGroup(clean);
  }
}

function discoverGroup(path: string): JsonObject | undefined {
  const [, name = '', version] = /^\/apis\/([^/]+)(?:\/([^/]+))?$/.exec(path) ?? [];
  const group = Object.hasOwn(REVIEW_GROUPS, name) ? REVIEW_GROUPS[name] : undefined;
  if (group === undefined) return undefined;
  if (version === undefined) return { kind: 'APIGroup', apiVersion: 'v1', ...describeGroup(name) };
  if (version !== group.version) return undefined;
  const reviews = group.reviews.map(([plural, kind]) => ({
    name: plural,
    singularName: kind.toLowerCase(),
    namespaced: false,
    kind,
    verbs: ['create'],
  }));
  return resourceList(`${name}/${version}`, reviews);
}

function describeGroup(name: string): JsonObject {
  const version = REVIEW_GROUPS[name]?.version ?? 'v1';
  const entry = { groupVersion: `${name}/${version}`, version };
  return { name, versions: [entry], preferredVersion: entry };
}

function resourceList(groupVersion: string, resources: readonly Json[]): JsonObject {
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources };
}

function describeResource(resource: Resource): JsonObject[] {
  const { name, singularName, shortNames, namespaced, kind } = resource;
  const whole = { name, singularName, namespaced, kind, verbs: READ_AND_WRITE, shortNames };
  const status = { name: `${name}/status`, singularName: '', namespaced, kind, verbs: ['get', 'patch', 'update'] };
  return name === 'pods' || name === 'namespaces' ? [whole, status] : [whole];
}

/**
 * Just enough of a schema for kubectl: it looks here whether the server checks fields itself (`fieldValidation`), and then
 * leaves objects unchecked (kubectl, `cli-runtime/pkg/resource/query_param_verifier_v3.go`).
 */
function openApi(): JsonObject {
  const paths: [string, JsonObject][] = RESOURCES.map((resource) => {
    const path = resource.namespaced
      ? `/api/v1/namespaces/{namespace}/${resource.name}/{name}`
      : `/api/v1/${resource.name}/{name}`;
    const parameters = ['fieldValidation', 'dryRun'].map((name) => ({ name, in: 'query', schema: { type: 'string' } }));
    const kind = { group: resource.group, version: resource.version, kind: resource.kind };
    return [
      path,
      { patch: { parameters, responses: {}, 'x-kubernetes-action': 'patch', 'x-kubernetes-group-version-kind': kind } },
    ];
  });
  const info = { title: 'Kubernetes', version: VERSION.gitVersion };
  return { openapi: '3.0.0', info, paths: Object.fromEntries(paths), components: { schemas: {} } };
}
