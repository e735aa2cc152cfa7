import type { Json, JsonObject } from '../json.ts';
import { type Resource, RESOURCES } from './resources.ts';

const READ_AND_WRITE = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

/** Groups that are served for reviews alone. */
const REVIEW_GROUPS: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  'authentication.k8s.io': [['tokenreviews', 'TokenReview']],
  'authorization.k8s.io': [['selfsubjectaccessreviews', 'SelfSubjectAccessReview']],
};
const VERSION_OF_GROUPS = 'v1';

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
      return resourceList('v1', resourcesOf('').flatMap(describeResource));
    case '/apis':
      return { kind: 'APIGroupList', apiVersion: 'v1', groups: GROUPS.map(describeGroup) };
    case '/openapi/v3':
      return { paths: Object.fromEntries(['', ...STORED_GROUPS].map(openApiEntry)) };
    default:
      return clean.startsWith('/openapi/v3/') ? openApi(clean.slice('/openapi/v3/'.length)) : discoverGroup(clean);
  }
}

/** Groups that have objects which are stored, but for the core group, whose name is empty. */
const STORED_GROUPS = [...new Set(RESOURCES.map(({ group }) => group))].filter((group) => group !== '');
const GROUPS = [...STORED_GROUPS, ...Object.keys(REVIEW_GROUPS)];

function resourcesOf(group: string): readonly Resource[] {
  return RESOURCES.filter((resource) => resource.group === group);
}

function discoverGroup(path: string): JsonObject | undefined {
  const [, name = '', version] = /^\/apis\/([^/]+)(?:\/([^/]+))?$/.exec(path) ?? [];
  if (!GROUPS.includes(name)) return undefined;
  if (version === undefined) return { kind: 'APIGroup', apiVersion: 'v1', ...describeGroup(name) };
  if (version !== VERSION_OF_GROUPS) return undefined;
  const reviews = (Object.hasOwn(REVIEW_GROUPS, name) ? (REVIEW_GROUPS[name] ?? []) : []).map(([plural, kind]) => ({
    name: plural,
    singularName: kind.toLowerCase(),
    namespaced: false,
    kind,
    verbs: ['create'],
  }));
  return resourceList(`${name}/${version}`, [...resourcesOf(name).flatMap(describeResource), ...reviews]);
}

function describeGroup(name: string): JsonObject {
  const entry = { groupVersion: `${name}/${VERSION_OF_GROUPS}`, version: VERSION_OF_GROUPS };
  return { name, versions: [entry], preferredVersion: entry };
}

function resourceList(groupVersion: string, resources: readonly Json[]): JsonObject {
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources };
}

function describeResource(resource: Resource): JsonObject[] {
  const { name, singularName, shortNames, namespaced, kind } = resource;
  const whole = { name, singularName, namespaced, kind, verbs: READ_AND_WRITE, shortNames };
  const status = { name: `${name}/status`, singularName: '', namespaced, kind, verbs: ['get', 'patch', 'update'] };
  return ['pods', 'namespaces', 'daemonsets'].includes(name) ? [whole, status] : [whole];
}

/**
 * Just enough of a schema for kubectl: it looks here whether the server checks fields itself (`fieldValidation`), and then
 * leaves objects unchecked (kubectl, `cli-runtime/pkg/resource/query_param_verifier_v3.go`).
 */
function openApi(document: string): JsonObject | undefined {
  const group = ['', ...STORED_GROUPS].find((group) => openApiName(group) === document);
  if (group === undefined) return undefined;
  const root = group === '' ? '/api/v1' : `/apis/${group}/${VERSION_OF_GROUPS}`;
  const paths: [string, JsonObject][] = resourcesOf(group).map((resource) => {
    const path = resource.namespaced
      ? `${root}/namespaces/{namespace}/${resource.name}/{name}`
      : `${root}/${resource.name}/{name}`;
    const parameters = ['fieldValidation', 'dryRun'].map((name) => ({ name, in: 'query', schema: { type: 'string' } }));
    const kind = { group, version: resource.version, kind: resource.kind };
    return [
      path,
      { patch: { parameters, responses: {}, 'x-kubernetes-action': 'patch', 'x-kubernetes-group-version-kind': kind } },
    ];
  });
  const info = { title: 'Kubernetes', version: VERSION.gitVersion };
  return { openapi: '3.0.0', info, paths: Object.fromEntries(paths), components: { schemas: {} } };
}

function openApiEntry(group: string): [string, JsonObject] {
  const name = openApiName(group);
  return [name, { serverRelativeURL: `/openapi/v3/${name}?hash=1` }];
}

function openApiName(group: string): string {
  return group === '' ? 'api/v1' : `apis/${group}/${VERSION_OF_GROUPS}`;
}
