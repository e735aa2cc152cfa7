import { noSuchPath } from './api-error.ts';
import { findResource, type Resource } from './resources.ts';

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

/** What a request is about, as rules and handlers see it. */
export interface ResourceRequest {
  readonly kind: 'resource';
  readonly verb: Verb;
  readonly group: string;
  readonly version: string;
  /** The name of the resource as asked, which may be none that is served. */
  readonly resourceName: string;
  readonly resource: Resource | undefined;
  readonly namespace: string;
  /** `''` for the whole collection. */
  readonly name: string;
  readonly subresource: string;
  readonly query: URLSearchParams;
}

/** A path that belongs to no resource: discovery, versions, health. */
export interface PathRequest {
  readonly kind: 'path';
  readonly verb: string;
  readonly path: string;
  readonly query: URLSearchParams;
}

/** Reads method and path as the API server does (Kubernetes, `apiserver/pkg/endpoints/request/requestinfo.go`). */
export function parseRequest(method: string, url: string): ResourceRequest | PathRequest {
  const mark = url.indexOf('?');
  const path = mark === -1 ? url : url.slice(0, mark);
  const query = new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1));
  const segments = path
    .split('/')
    .filter((segment) => segment !== '')
    .map(decodeSegment);
  const scope = scopeOf(segments);
  if (scope === undefined) return { kind: 'path', verb: method.toLowerCase(), path, query };
  const { group, version } = scope;
  let { rest } = scope;
  let namespace = '';
  const [first, second, third] = rest;
  if (first === 'namespaces' && second !== undefined) {
    namespace = second;
    if (third !== undefined && third !== 'status' && third !== 'finalize') rest = rest.slice(2);
  }
  const [resourceName = '', name = '', subresource = '', ...surplus] = rest;
  if (surplus.length > 0) throw noSuchPath();
  return {
    kind: 'resource',
    verb: verbOf(method, name, query),
    group,
    version,
    resourceName,
    resource: findResource(group, version, resourceName),
    namespace,
    name,
    subresource,
    query,
  };
}

interface Scope {
  readonly group: string;
  readonly version: string;
  readonly rest: readonly string[];
}

function scopeOf(segments: readonly string[]): Scope | undefined {
  const [root, first = '', second = ''] = segments;
  if (root === 'api' && segments.length > 2) return { group: '', version: first, rest: segments.slice(2) };
  if (root === 'apis' && segments.length > 3) return { group: first, version: second, rest: segments.slice(3) };
  return undefined;
}

function verbOf(method: string, name: string, query: URLSearchParams): Verb {
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (isTrue(query, 'watch')) return 'watch';
      return name === '' ? 'list' : 'get';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return name === '' ? 'deletecollection' : 'delete';
    default:
      throw noSuchPath();
  }
}

/** Flags in queries are true as `1` or `true`. */
export function isTrue(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value === 'true' || value === '1';
}

/** A query's whole number; undefined when it is absent or none. */
export function numberOf(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  return value !== null && /^\d+$/.test(value) ? Number(value) : undefined;
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw noSuchPath();
  }
}
