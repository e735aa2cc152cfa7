/** A kind of object that the API serves. */
export interface Resource {
  readonly group: string;
  readonly version: string;
  /** The name in paths and rules: plural, lower case. */
  readonly name: string;
  readonly singularName: string;
  readonly shortNames: readonly string[];
  readonly kind: string;
  readonly namespaced: boolean;
}

function coreResource(name: string, kind: string, shortName: string, namespaced = true): Resource {
  return {
    group: '',
    version: 'v1',
    name,
    singularName: kind.toLowerCase(),
    shortNames: [shortName],
    kind,
    namespaced,
  };
}

export const PODS = coreResource('pods', 'Pod', 'po');
export const NAMESPACES = coreResource('namespaces', 'Namespace', 'ns', false);
export const EVENTS = coreResource('events', 'Event', 'ev');
export const NODES = coreResource('nodes', 'Node', 'no', false);
export const SERVICE_ACCOUNTS = coreResource('serviceaccounts', 'ServiceAccount', 'sa');

export const RESOURCES: readonly Resource[] = [PODS, NAMESPACES, EVENTS, NODES, SERVICE_ACCOUNTS];

export function findResource(group: string, version: string, name: string): Resource | undefined {
  return RESOURCES.find(
    (resource) => resource.group === group && resource.version === version && resource.name === name,
  );
}

export function apiVersionOf(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}
