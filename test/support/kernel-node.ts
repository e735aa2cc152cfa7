import { closeSync, openSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { CertificateFiles } from '#sandbox/certificate-files.ts';
import { type Child, type ChildExit, startChild } from '#sandbox/child.ts';
import { listen } from '#sandbox/http-listener.ts';
import type { JsonObject } from '#sandbox/json.ts';
import { METADATA_ADDRESS, METADATA_ADDRESS_6, WORLD_ADDRESS } from '#sandbox/network/addresses.ts';
import { runCommand } from '#sandbox/network/commands.ts';
import { listenInside } from '#sandbox/network/listen-inside.ts';
import { removeNamespacesOfSync, sweepLeftovers } from '#sandbox/network/namespaces.ts';
import { createNetwork, type Network, type NetworkOptions } from '#sandbox/network/network.ts';
import { startWorld, type World, type WorldOptions } from '#sandbox/world.ts';

import { commandsOn } from './commands-on.ts';
import { eventually } from './eventually.ts';

const KIAM = fileURLToPath(new URL('../../src/bin/kiam.ts', import.meta.url));
const LISTEN_INSIDE = fileURLToPath(new URL('../sandbox/programs/listen-inside.ts', import.meta.url));
const SERVER_PORT = 9610;
/** Also where many tests share the machine. */
export const START_LIMIT_MS = 60_000;

export interface KernelNodeOptions {
  /** Tells the nodes of one process apart. */
  readonly label: string;
  /** What the node's kubelet uses. */
  readonly backend: 'nft' | 'legacy';
  readonly topology?: NetworkOptions['topology'];
  /** How the network differs from `createNetwork`'s defaults. */
  readonly network?: Pick<NetworkOptions, 'interfacePrefix' | 'uplink' | 'bridgeNetfilter'>;
  /** `--host-interface`; the pods' own by default. */
  readonly hostInterface?: string;
  /** With which the node joins the cluster. */
  readonly taints?: readonly JsonObject[];
  /** What the server may do in Kubernetes. */
  readonly serverRules?: WorldOptions['serverRules'];
  /** Gives each pod's interface another address to lead to, so that the kernel does not show whose it is. */
  readonly hidesOwners?: boolean;
}

export interface AgentStart {
  readonly flags?: readonly string[];
  readonly port?: number;
  /** A key that does not belong to its certificate. */
  readonly hasBadCertificate?: boolean;
  /** Of another authority, for example. */
  readonly certificates?: Pick<CertificateFiles, 'agentCertificate' | 'agentKey' | 'ca'>;
}

/** A node in network namespaces with the stand-in world beyond it, on which the real program runs. */
export interface KernelNode {
  readonly network: Network;
  readonly world: World;
  /** Of /run/xtables.lock, for this node's programs alone. */
  readonly lockFile: string;
  /** The words before a command that is to run in the pod with an address. */
  podExec(address: string): readonly string[];
  /** The words before a command that is to run on the node, with the node's own lock. */
  readonly nodeExec: readonly string[];
  /** What `startAgent` gives an agent after its command. */
  agentFlags(options?: AgentStart): readonly string[];
  /** Starts an agent with the interception and returns at once. */
  startAgent(options?: AgentStart): Child;
  /**
   * Resolves once an agent listens and the kernel sends pods to it, in both families. The agent does not wait for its rules
   * before it listens: until they are there, one after the other, a pod is refused or reaches the node's role.
   */
  intercepts(agent: Child): Promise<void>;
  /** Runs `kiam agent --guard-only` to its end. */
  guardOnly(): Promise<ChildExit>;
  /** Runs `kiam agent --uninstall` to its end, with the agent's address and port, or with other arguments. */
  uninstall(args?: readonly string[]): Promise<ChildExit>;
  /** Starts a server, with further flags, and resolves once it serves. */
  startServer(flags?: readonly string[]): Promise<Child>;
  /** Runs a command on the node, as `commandsOn` does. */
  onNode(...argv: readonly string[]): Promise<string>;
  /** The addresses, other than the node's own, from which anyone asked the metadata service for anything. */
  strangers(): readonly string[];
  forgetStrangers(): void;
  remove(): Promise<void>;
}

export const AGENT_SERVES = /"msg":"listening"/;

/**
 * Builds it. The metadata service wants no tokens and answers on 169.254.169.254 and fd00:ec2::254, on port 80 and on
 * another, so that nothing but the agent's rules is between a pod and the node's role.
 */
export async function createKernelNode(options: KernelNodeOptions): Promise<KernelNode> {
  await sweepLeftovers();
  const removeSync = (): void => removeNamespacesOfSync(process.pid);
  process.once('exit', removeSync);
  const folder = await mkdtemp(join(tmpdir(), 'kiam-node-'));
  const lockFile = join(folder, 'xtables.lock');
  await writeFile(lockFile, '');
  // The lock is one for all programs of a machine; `ip netns exec` gives each its own mounts.
  closeSync(openSync('/run/xtables.lock', 'a'));
  const network = await createNetwork({
    pid: process.pid,
    label: options.label,
    topology: options.topology ?? 'routed',
    ...options.network,
  });
  const inside = insideNamespace(network.metadata);
  const pods = new Map<string, readonly string[]>();
  const world = await startWorld({
    folder,
    path: SYSTEM_PATH,
    addresses: {
      api: { host: WORLD_ADDRESS, port: 6443, open: inside },
      sts: { host: WORLD_ADDRESS, port: 8443, open: inside },
      metadata: { host: METADATA_ADDRESS, port: 80, open: inside },
    },
    requireMetadataToken: false,
    // The server must see an agent by its node's address, as it does in a cluster.
    serverNames: [network.node.address],
    nodes: [{ name: 'node-1', address: network.node.address, taints: options.taints ?? [] }],
    ...(options.serverRules === undefined ? {} : { serverRules: options.serverRules }),
    podAddresses: Array.from({ length: 60 }, (_, index) => `198.18.1.${index + 2}`),
    instance: { localIpv4: network.node.address },
    onPodRunning: async ({ addresses: [address = ''], hostNetwork }) => {
      if (hostNetwork) return;
      const pod = await network.addPod(address);
      pods.set(address, pod.exec);
      if (options.hidesOwners === true) {
        const another = address.replace('198.18.', '198.19.');
        await runCommand([...network.node.exec, 'ip', 'route', 'add', `${another}/32`, 'dev', pod.nodeInterface]);
      }
    },
    onPodGone: async ({ addresses: [address = ''], hostNetwork }) => {
      if (hostNetwork) return;
      await network.removePod(address);
      pods.delete(address);
    },
  });
  const others = await listenElsewhere(inside);
  const withOwnLock = ['sh', '-c', 'mount --bind "$0" /run/xtables.lock && exec "$@"', lockFile];
  const onNodeExec = [...network.node.exec, ...withOwnLock];
  const onNode = commandsOn(onNodeExec);
  await onNode(`iptables-${options.backend}`, '-t', 'mangle', '-N', 'KUBE-IPTABLES-HINT');
  const children: Child[] = [];
  const start = (
    name: string,
    flags: readonly string[],
    environment: Readonly<Record<string, string>> = world.environment.clean,
  ): Child => {
    const argv = [...onNodeExec, process.execPath, KIAM, name, '--json-log', ...flags];
    const child = startChild({ name, argv, environment });
    children.push(child);
    return child;
  };
  const { ca, serverCertificate, serverKey, agentCertificate, agentKey } = world.certificates;
  const agentFlags: KernelNode['agentFlags'] = ({
    flags = [],
    port = 3100,
    hasBadCertificate = false,
    certificates = { agentCertificate, agentKey, ca },
  } = {}) => [
    '--iptables',
    `--host-interface=${options.hostInterface ?? network.hostInterface}`,
    `--host=${network.node.address},${network.node.address6}`,
    `--port=${port}`,
    `--server-address=${network.node.address}:${SERVER_PORT}`,
    `--cert=${certificates.agentCertificate}`,
    `--key=${hasBadCertificate ? serverKey : certificates.agentKey}`,
    `--ca=${certificates.ca}`,
    ...flags,
  ];
  const own = new Set<string>([network.node.address, network.node.address6]);
  return {
    network,
    world,
    lockFile,
    podExec: (address) => pods.get(address) ?? [],
    nodeExec: onNodeExec,
    agentFlags,
    startAgent: (options) => start('agent', agentFlags(options)),
    intercepts: async (agent) => {
      await agent.line(AGENT_SERVES, START_LIMIT_MS);
      for (const command of [`iptables-${options.backend}`, `ip6tables-${options.backend}`]) {
        const redirect = async (): Promise<boolean> =>
          (await onNode(command, '-t', 'nat', '-S', 'PREROUTING')).includes('--to-destination');
        await eventually(`${command} shows the redirect`, START_LIMIT_MS, redirect);
      }
    },
    guardOnly: () => start('agent', ['--guard-only']).exited,
    uninstall: (args = [`--host=${network.node.address},${network.node.address6}`]) =>
      start('agent', ['--uninstall', ...args]).exited,
    startServer: async (flags = []) => {
      const child = start(
        'server',
        [
          `--bind=${network.node.address}:${SERVER_PORT}`,
          `--kubeconfig=${world.kubeconfigs.server}`,
          '--role-base-arn-autodetect',
          '--assume-role-arn=kiam-server',
          `--cert=${serverCertificate}`,
          `--key=${serverKey}`,
          `--ca=${ca}`,
          ...flags,
        ],
        { ...world.environment.clean, ...world.environment.sts },
      );
      await child.line(/"msg":"will serve on"/, START_LIMIT_MS);
      return child;
    },
    onNode,
    strangers: () => {
      const seen = [...world.metadata.requests().map(({ peer }) => peer), ...others.peers];
      return [...new Set(seen.filter((peer) => !own.has(peer)))];
    },
    forgetStrangers: () => {
      world.metadata.clearRequests();
      others.peers.length = 0;
    },
    remove: async () => {
      await Promise.all(children.map((child) => child.stop('SIGKILL')));
      await others.stop();
      await world.close();
      await network.remove();
      await rm(folder, { recursive: true, force: true });
      process.off('exit', removeSync);
    },
  };
}

/** Opens listening sockets of this process in a network namespace. */
export function insideNamespace(namespace: Parameters<typeof listenInside>[0]): ReturnType<typeof listenInside> {
  return listenInside(namespace, [process.execPath, LISTEN_INSIDE], { PATH: SYSTEM_PATH });
}

const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Not one that EC2 listens on; whatever a pod can reach there it could reach anywhere. */
export const OTHER_PORT = 8080;

/** The metadata service's other doors, as far as a pod can tell: they answer with its Server header. */
async function listenElsewhere(
  open: ReturnType<typeof listenInside>,
): Promise<{ peers: string[]; stop(): Promise<void> }> {
  const peers: string[] = [];
  const places = [
    { host: METADATA_ADDRESS_6, port: 80 },
    { host: METADATA_ADDRESS_6, port: OTHER_PORT },
    { host: METADATA_ADDRESS, port: OTHER_PORT },
  ];
  const listeners = await Promise.all(
    places.map((place) => {
      const server = createServer((request, response) => {
        peers.push(request.socket.remoteAddress ?? '');
        response.writeHead(200, { server: 'EC2ws', 'content-length': 4 }).end('node');
      });
      return listen(server, { ...place, open });
    }),
  );
  return {
    peers,
    stop: async () => {
      await Promise.all(listeners.map((listener) => listener.stop()));
    },
  };
}
