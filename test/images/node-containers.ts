import { chmod, chown, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { parseAllDocuments } from 'yaml';

import { issueCertificateFiles } from '#sandbox/certificate-files.ts';
import type { Rule } from '#sandbox/kubernetes-api/access.ts';

import { eventually } from '../support/eventually.ts';
import { createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { type Container, type PodContainer, type PodSecurity, runContainer } from './container.ts';
import type { Image } from './image-store.ts';

export interface NodeContainerOptions {
  readonly name: string;
  readonly part: 'agent' | 'server';
  readonly container: PodContainer;
  readonly pod?: PodSecurity;
}

/** A node with the stand-in world round it, on which containers run as a kubelet would run them. */
export interface ContainerNode {
  readonly node: KernelNode;
  run(options: NodeContainerOptions): Container;
  /** Asks again and again until the answer is yes; fails with what the containers said last. */
  until(awaited: string, ask: () => Promise<boolean>): Promise<void>;
  remove(): Promise<void>;
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const LIMIT_MS = 60_000;
const KUBE_SYSTEM = 'kube-system';

export async function createContainerNode(
  images: Readonly<Record<'agent' | 'server', Image>>,
  backend: 'nft' | 'legacy',
): Promise<ContainerNode> {
  const node = await createKernelNode({ label: backend, backend, serverRules: await manifestRules() });
  const { world, network } = node;
  const folder = join(world.folder, 'containers');
  await mkdir(folder, { recursive: true });
  const { account, api } = await serviceAccountFiles(world.kubeconfigs.server, folder);
  // The name that the manifests know the server by.
  const hosts = join(folder, 'hosts');
  await writeFile(hosts, `127.0.0.1 localhost\n${network.node.address} kiam-server\n`);
  // What a runtime makes of a path that the node does not have.
  const absent = join(folder, 'absent');
  await mkdir(absent);
  const volumes = {
    'xtables-lock': node.lockFile,
    xtables: node.lockFile,
    'ssl-certs': '/usr/share/ca-certificates',
    'pki-certs': absent,
    token: await agentToken(node, folder),
  };
  const secrets = await secretVolumes(node, folder);
  const containers: Container[] = [];
  return {
    node,
    run: ({ name, part, container, pod }) => {
      const started = runContainer({
        name: `kiam-${process.pid}-${backend}-${name}`,
        folder,
        rootfs: images[part].rootfs,
        container,
        ...(pod === undefined ? {} : { pod }),
        network: network.node.namespace,
        volumes: { ...volumes, tls: secrets(part, pod?.fsGroup) },
        files: { '/etc/hosts': hosts, ...(part === 'server' ? { [SERVICE_ACCOUNT]: account } : {}) },
        environment:
          part === 'agent'
            ? { HOST_IP: network.node.address }
            : { ...world.environment.sts, KUBERNETES_SERVICE_HOST: api.hostname, KUBERNETES_SERVICE_PORT: api.port },
      });
      containers.push(started);
      return started;
    },
    until: async (awaited, ask) => {
      try {
        await eventually(awaited, LIMIT_MS, ask);
      } catch (error) {
        const said = containers.map(({ child }) => `${child.name}:\n${child.lines.slice(-10).join('\n')}`);
        throw new Error(said.join('\n'), { cause: error });
      }
    },
    remove: async () => {
      await Promise.all(containers.map(({ child }) => child.stop('SIGTERM')));
      await node.remove();
    },
  };
}

/** What the project's ClusterRole allows. */
async function manifestRules(): Promise<readonly Rule[]> {
  const text = await readFile(new URL('../../deploy/server-rbac.yaml', import.meta.url), 'utf8');
  return parseAllDocuments(text)
    .map((document) => document.toJS())
    .find(({ kind }) => kind === 'ClusterRole').rules;
}

/** What the admission of a service account mounts, made of the kubeconfig of one that has the manifests' rights. */
async function serviceAccountFiles(kubeconfig: string, folder: string): Promise<{ account: string; api: URL }> {
  const { clusters, users } = JSON.parse(await readFile(kubeconfig, 'utf8')) as {
    clusters: [{ cluster: { server: string; 'certificate-authority-data': string } }];
    users: [{ user: { token: string } }];
  };
  const { cluster } = clusters[0];
  const account = join(folder, 'service-account');
  await mkdir(account);
  await writeFile(join(account, 'token'), users[0].user.token);
  await writeFile(join(account, 'ca.crt'), Buffer.from(cluster['certificate-authority-data'], 'base64'));
  return { account, api: new URL(cluster.server) };
}

/** The Secrets' volumes, for each user of files: the keys belong to a group when the pod has one, and to root otherwise. */
async function secretVolumes(
  { world }: KernelNode,
  folder: string,
): Promise<(part: 'agent' | 'server', fsGroup: number | undefined) => string> {
  const issued = join(folder, 'issued');
  await mkdir(issued);
  await issueCertificateFiles({ authority: world.authority, folder: issued });
  for (const part of ['agent', 'server']) {
    for (const group of [0, 65532]) {
      const volume = join(folder, `${part}-tls-${group}`);
      await mkdir(volume);
      for (const file of ['ca.pem', `${part}.pem`, `${part}-key.pem`]) {
        await copyFile(join(issued, file), join(volume, file));
        await chown(join(volume, file), 0, group);
        await chmod(join(volume, file), group === 0 ? 0o400 : 0o440);
      }
    }
  }
  return (part, fsGroup = 0) => join(folder, `${part}-tls-${fsGroup}`);
}

/** A folder with the token of an agent's own pod on this node. */
async function agentToken({ world }: KernelNode, folder: string): Promise<string> {
  const { name, uid } = await world.pod({ namespace: KUBE_SYSTEM, name: 'kiam-agent', hostNetwork: true });
  world.api.createServiceAccount(KUBE_SYSTEM, 'kiam-agent');
  const token = world.api.serviceAccountToken({
    namespace: KUBE_SYSTEM,
    serviceAccount: 'kiam-agent',
    pod: { name, uid },
    audiences: ['kiam-server'],
  });
  const volume = join(folder, 'token');
  await mkdir(volume);
  await writeFile(join(volume, 'token'), token);
  return volume;
}
