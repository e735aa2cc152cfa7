import type { Binding } from '#domain/service-account.ts';
import { type Access, reviewOwnAccess } from '#kubernetes/access-review.ts';
import type { KubernetesConnection } from '#kubernetes/connection.ts';

import { type Observation, ok, wrong } from '../finding.ts';
import { watchedResources } from './watch.ts';

function read(binding: Binding): readonly Access[] {
  return watchedResources(binding).flatMap((resource) =>
    ['get', 'list', 'watch'].map((verb) => ({ group: '', resource, verb })),
  );
}

const EVENTS: readonly Access[] = ['create', 'patch'].map((verb) => ({ group: '', resource: 'events', verb }));
const TOKENS: readonly Access[] = [{ group: 'authentication.k8s.io', resource: 'tokenreviews', verb: 'create' }];

const NODES: readonly Access[] = [
  { group: '', resource: 'nodes', verb: 'list' },
  { group: '', resource: 'nodes', verb: 'watch' },
  { group: '', resource: 'nodes/status', verb: 'patch' },
];
const TAINTS: readonly Access[] = [{ group: '', resource: 'nodes', verb: 'patch' }];

/**
 * What the server must be allowed: `deploy/server-rbac.yaml`, where agents' tokens are left out without
 * `--agent-identity=token`.
 */
export function serverAccess(options: {
  readonly reviewsTokens: boolean;
  readonly binding: Binding;
  /** `--node-readiness`: `deploy/startup-taint` allows it. */
  readonly nodeReadiness: 'off' | 'condition' | 'taint';
}): readonly Access[] {
  const { reviewsTokens, binding, nodeReadiness } = options;
  return [
    ...read(binding),
    ...EVENTS,
    ...(reviewsTokens ? TOKENS : []),
    ...(nodeReadiness === 'off' ? [] : NODES),
    ...(nodeReadiness === 'taint' ? TAINTS : []),
  ];
}

/** What this report itself has to read of a cluster. */
export function reportAccess(binding: Binding): readonly Access[] {
  return read(binding).filter(({ verb }) => verb === 'list');
}

/** Asks the API server about each of these, as the user of the kubeconfig or the service account. Never rejects. */
export async function checkAccess(
  connection: KubernetesConnection,
  needed: readonly Access[],
  signal: AbortSignal,
): Promise<Observation[]> {
  const observations: Observation[] = [];
  for (const access of needed) {
    const what = nameOf(access);
    const review = await reviewOwnAccess(connection, access, signal);
    if (review.kind === 'unknown') {
      const says = `${connection.server} cannot be asked: ${review.reason}`;
      return [...observations, wrong(says, fixOf(review.reason))];
    }
    if (review.kind === 'allowed') continue;
    const says = `RBAC does not allow us to ${what}${review.reason === '' ? '' : `: ${review.reason}`}`;
    observations.push(
      wrong(says, `apply ${manifestOf(access)}; the ServiceAccount’s namespace must be that of its binding`),
    );
  }
  if (observations.length > 0) return observations;
  return [ok(`RBAC allows everything that is needed: ${needed.map(nameOf).join(', ')}`)];
}

function nameOf({ group, resource, verb }: Access): string {
  return `${verb} ${resource}${group === '' ? '' : `.${group}`}`;
}

function manifestOf({ resource }: Access): string {
  return resource.startsWith('nodes') ? 'deploy/startup-taint' : 'deploy/server-rbac.yaml';
}

function fixOf(reason: string): string {
  if (reason.startsWith('401')) return 'the token or the client certificate is not accepted: renew the kubeconfig';
  if (/certificate/i.test(reason)) return 'the kubeconfig’s certificate-authority must be that of the API server';
  return 'does the kubeconfig name the right server? in a pod: does a NetworkPolicy keep it from the API server?';
}
