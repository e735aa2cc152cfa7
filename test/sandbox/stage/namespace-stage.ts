import { METADATA_ADDRESS, NODE_ADDRESS, POD_SUBNET, WORLD_ADDRESS } from '../network/addresses.ts';
import { listenInside } from '../network/listen-inside.ts';
import { sweepLeftovers } from '../network/namespaces.ts';
import { createNetwork, type PodNamespace } from '../network/network.ts';
import { startWorld } from '../world.ts';
import { KUBE2IAM_COMMON, StageDaemons } from './daemons.ts';
import { AGENT_SERVES, SERVER_SERVES, tls } from './loopback-stage.ts';
import type { Stage, StageOptions } from './stage.ts';

const AGENT_PORT = 3100;
const SERVER_PORT = 9610;

/**
 * A stage of network namespaces: one for the node, one that owns 169.254.169.254 and the rest of the world, and one for each
 * pod. The daemons run on the node with the flags of a real one, and the agent puts its own rules into the node's kernel.
 * Needs what `networkSupport` looks for.
 */
export async function createNamespaceStage({ programs, folder, path, pid }: StageOptions): Promise<Stage> {
  await sweepLeftovers();
  const network = await createNetwork({ pid, topology: 'routed' });
  const pods = new Map<string, PodNamespace>();
  const daemons = new StageDaemons();
  const inside = listenInside(network.metadata, [...programs.node, programs.listenInside], { PATH: path });
  const start = async (): ReturnType<typeof startWorld> => {
    try {
      return await startWorld({
        folder,
        path,
        addresses: {
          api: { host: WORLD_ADDRESS, port: 6443, open: inside },
          sts: { host: WORLD_ADDRESS, port: 8443, open: inside },
          metadata: { host: METADATA_ADDRESS, port: 80, open: inside },
        },
        nodes: [{ name: 'node-1', address: NODE_ADDRESS }],
        podAddresses: Array.from({ length: 253 }, (_, index) => `${POD_SUBNET}.${index + 2}`),
        instance: { localIpv4: NODE_ADDRESS },
        // The server sees the agent by its node's address, as in a cluster.
        serverNames: ['kiam-server', 'localhost', NODE_ADDRESS],
        onPodRunning: async ({ addresses: [address = ''], hostNetwork }) => {
          if (!hostNetwork) pods.set(address, await network.addPod(address));
        },
        onPodGone: async ({ addresses: [address = ''] }) => {
          pods.delete(address);
          await network.removePod(address);
        },
      });
    } catch (error) {
      await network.remove();
      throw error;
    }
  };
  const world = await start();
  const { ca, serverCertificate, serverKey, agentCertificate, agentKey } = world.certificates;
  const kiam = [...network.node.exec, ...programs.node, programs.kiam];
  return {
    kind: 'namespaces',
    description: 'every pod is a network namespace; the agent redirects 169.254.169.254 in the node’s kernel',
    world,
    metadataUrl: `http://${METADATA_ADDRESS}`,
    nodePrefix: network.node.exec,
    startServer: () =>
      daemons.start({
        name: 'server',
        argv: kiam,
        flags: [
          `--bind=${NODE_ADDRESS}:${SERVER_PORT}`,
          `--kubeconfig=${world.kubeconfigs.server}`,
          '--role-base-arn-autodetect',
          '--assume-role-arn=kiam-server',
          ...tls(serverCertificate, serverKey, ca),
        ],
        // Its own credentials come from the metadata service, as on an EC2 instance.
        environment: { ...world.environment.clean, ...world.environment.sts },
        serving: SERVER_SERVES,
      }),
    startAgent: () =>
      daemons.start({
        name: 'agent',
        argv: kiam,
        flags: [
          '--iptables',
          `--host-interface=${network.hostInterface}`,
          `--host=${NODE_ADDRESS}`,
          `--port=${AGENT_PORT}`,
          `--server-address=${NODE_ADDRESS}:${SERVER_PORT}`,
          ...tls(agentCertificate, agentKey, ca),
        ],
        environment: world.environment.clean,
        serving: AGENT_SERVES,
      }),
    startKube2iam: () =>
      daemons.start({
        name: 'kube2iam',
        argv: kiam,
        common: KUBE2IAM_COMMON,
        flags: [
          '--iptables',
          `--host-interface=${network.hostInterface}`,
          `--host-ip=${NODE_ADDRESS}`,
          `--app-port=${AGENT_PORT}`,
          `--kubeconfig=${world.kubeconfigs.server}`,
          '--auto-discover-base-arn',
        ],
        environment: { ...world.environment.clean, ...world.environment.sts },
        serving: AGENT_SERVES,
      }),
    killAgent: async () => {
      await Promise.all(['agent', 'kube2iam'].map((name) => daemons.kill(name)));
    },
    placeOf: (pod) => ({
      prefix: pods.get(pod.address)?.exec ?? [],
      environment: { ...world.environment.clean, ...world.environment.sts },
    }),
    close: async () => {
      await daemons.stop();
      await world.close();
      await network.remove();
    },
    closeSync: () => daemons.stopSync(),
  };
}
