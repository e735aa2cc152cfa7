import type { World } from '#sandbox/world.ts';

export interface ManyPods {
  readonly count: number;
  /** How many roles they share. */
  readonly roles: number;
  /** Set again to give every one of them another of the roles. */
  readonly generation: number;
}

const NAMESPACES = 100;

/**
 * Puts pods as large as common ones are (about 4 KiB), spread over 100 namespaces and the nodes of other machines, as if a
 * whole cluster had started them.
 */
export function putManyPods(world: World, { count, roles, generation }: ManyPods): void {
  putNamespaces(world);
  for (let index = 0; index < count; index += 1) {
    const address = `10.${64 + Math.floor(index / 62_500)}.${Math.floor(index / 250) % 250}.${(index % 250) + 1}`;
    world.api.putPod({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        namespace: `many-${index % NAMESPACES}`,
        name: `many-${index}`,
        uid: `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
        labels: { app: `app-${index % roles}` },
        annotations: { 'iam.amazonaws.com/role': `many-${(index + generation) % roles}` },
      },
      spec: {
        nodeName: `other-${index % 300}`,
        containers: [{ name: 'main', image: 'example.com/app', env: ENVIRONMENT }],
      },
      status: {
        phase: 'Running',
        hostIP: `10.1.${Math.floor((index % 300) / 250)}.${(index % 250) + 1}`,
        podIP: address,
        podIPs: [{ ip: address }],
      },
    });
  }
}

export function putNamespaces(world: World): void {
  for (let index = 0; index < NAMESPACES; index += 1) {
    if (world.api.namespace(`many-${index}`) === undefined) world.namespace(`many-${index}`, `${world.roleBaseArn}.*`);
  }
}

/** Puts ServiceAccounts with a role each, spread over the same namespaces; called again, it gives each another role. */
export function putManyServiceAccounts(world: World, count: number, generation: number): void {
  for (let index = 0; index < count; index += 1) {
    const [namespace, name] = [`many-${index % NAMESPACES}`, `account-${index}`];
    const annotations = { 'eks.amazonaws.com/role-arn': `${world.roleBaseArn}${name}-${generation}` };
    if (generation === 1) world.api.createServiceAccount(namespace, name, annotations);
    else world.api.patchServiceAccount(namespace, name, { metadata: { annotations } });
  }
}

/** What makes pods large in practice. */
const ENVIRONMENT = Array.from({ length: 40 }, (_, index) => ({
  name: `SETTING_${index}`,
  value: `https://service-${index}.example.com/path/to/something/longer`,
}));
