import type { AskingWay, PodRecord } from '#domain/pod.ts';

import { type Observation, ok, wrong } from '../finding.ts';
import { type Cluster, namesOf, podsWithRole } from './cluster.ts';

/** By which way pods with a role ask for credentials, and those whose way leads nowhere here. */
export function checkWays(cluster: Cluster): Observation[] {
  const pods = podsWithRole(cluster);
  const by = (way: AskingWay): PodRecord[] => pods.filter(({ asksBy }) => asksBy === way);
  const counts = WAYS.map((way) => ({ way, count: by(way).length })).filter(({ count }) => count > 0);
  const says = counts.map(({ way, count }) => `${count} by ${way}`).join(', ');
  const unserved = cluster.containerCredentials === false ? by('container credentials') : [];
  const observations = [...Map.groupBy(unserved, ({ namespace }) => namespace)].map(([namespace, alike]) =>
    wrong(
      `${namespace}/${namesOf(alike)}: asks for container credentials, which servers without --container-credentials do not give`,
      'give servers and agents --container-credentials, or let EKS Pod Identity serve these pods',
    ),
  );
  return [
    ...observations,
    ok(`pods with a role ask for credentials as their variables say: ${says || 'there are none'}`),
  ];
}

const WAYS: readonly AskingWay[] = ['instance metadata', 'container credentials', 'web identity', 'another endpoint'];
