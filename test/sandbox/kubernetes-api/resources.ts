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

interface Named {
  readonly name: string;
  readonly kind: string;
  readonly shortName?: string;
  readonly namespaced?: boolean;
}

function resourceOf(group: string, { name, kind, shortName, namespaced = true }: Named): Resource {
  return {
    group,
    version: 'v1',
    name,
    singularName: kind.toLowerCase(),
    shortNames: shortName === undefined ? [] : [shortName],
    kind,
    namespaced,
  };
}

export const PODS = resourceOf('', { name: 'pods', kind: 'Pod', shortName: 'po' });
export const NAMESPACES = resourceOf('', { name: 'namespaces', kind: 'Namespace', shortName: 'ns', namespaced: false });
export const EVENTS = resourceOf('', { name: 'events', kind: 'Event', shortName: 'ev' });
export const NODES = resourceOf('', { name: 'nodes', kind: 'Node', shortName: 'no', namespaced: false });
export const SERVICE_ACCOUNTS = resourceOf('', { name: 'serviceaccounts', kind: 'ServiceAccount', shortName: 'sa' });
export const SECRETS = resourceOf('', { name: 'secrets', kind: 'Secret' });
export const SERVICES = resourceOf('', { name: 'services', kind: 'Service', shortName: 'svc' });

export const DAEMON_SETS = resourceOf('apps', { name: 'daemonsets', kind: 'DaemonSet', shortName: 'ds' });
export const CONTROLLER_REVISIONS = resourceOf('apps', { name: 'controllerrevisions', kind: 'ControllerRevision' });

const RBAC = 'rbac.authorization.k8s.io';
export const CLUSTER_ROLES = resourceOf(RBAC, { name: 'clusterroles', kind: 'ClusterRole', namespaced: false });
export const CLUSTER_ROLE_BINDINGS = resourceOf(RBAC, {
  name: 'clusterrolebindings',
  kind: 'ClusterRoleBinding',
  namespaced: false,
});

/** Kept, and nothing comes of them here. */
const PASSIVE: readonly Resource[] = [
  resourceOf('apps', { name: 'deployments', kind: 'Deployment', shortName: 'deploy' }),
  resourceOf('', { name: 'configmaps', kind: 'ConfigMap', shortName: 'cm' }),
  resourceOf('policy', { name: 'poddisruptionbudgets', kind: 'PodDisruptionBudget', shortName: 'pdb' }),
  resourceOf('networking.k8s.io', { name: 'networkpolicies', kind: 'NetworkPolicy', shortName: 'netpol' }),
];

export const RESOURCES: readonly Resource[] = [
  PODS,
  NAMESPACES,
  EVENTS,
  NODES,
  SERVICE_ACCOUNTS,
  SECRETS,
  SERVICES,
  DAEMON_SETS,
  CONTROLLER_REVISIONS,
  CLUSTER_ROLES,
  CLUSTER_ROLE_BINDINGS,
  ...PASSIVE,
];

export function findResource(group: string, version: string, name: string): Resource | undefined {
  return RESOURCES.find(
    (resource) => resource.group === group && resource.version === version && resource.name === name,
  );
}

export function apiVersionOf(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}
