import { startWorld } from '../world.ts';
import { KUBE2IAM_COMMON, portOf, StageDaemons } from './daemons.ts';
import type { Stage, StageOptions } from './stage.ts';

/** A stage that needs no rights: every pod is an address of 127.0.0.0/8, and nothing is redirected. */
export async function createLoopbackStage({ programs, folder, path }: StageOptions): Promise<Stage> {
  const world = await startWorld({ folder, path });
  const daemons = new StageDaemons();
  const { ca, serverCertificate, serverKey, agentCertificate, agentKey } = world.certificates;
  const kiam = [...programs.node, programs.kiam];
  let serverPort = 0;
  let agentPort = 0;
  const metadataUrl = (): string => `http://127.0.0.1:${agentPort}`;
  return {
    kind: 'loopback',
    description: 'pods are addresses of 127.0.0.0/8; nothing is redirected, pods are told where the agent is',
    world,
    get metadataUrl() {
      return metadataUrl();
    },
    nodePrefix: [],
    startServer: async () => {
      const daemon = await daemons.start({
        name: 'server',
        argv: kiam,
        flags: [
          '--bind=127.0.0.1:0',
          `--kubeconfig=${world.kubeconfigs.server}`,
          '--role-base-arn-autodetect',
          `--metadata-endpoint=${world.metadata.url}`,
          `--assume-role-arn=kiam-server`,
          ...tls(serverCertificate, serverKey, ca),
        ],
        environment: { ...world.environment.clean, ...world.environment.sts, ...world.environment.metadata },
        serving: SERVER_SERVES,
      });
      serverPort = portOf(await daemon.child.line(SERVER_SERVES));
      return daemon;
    },
    startAgent: async () => {
      const daemon = await daemons.start({
        name: 'agent',
        argv: kiam,
        flags: [
          `--port=${agentPort}`,
          '--host=127.0.0.1',
          `--server-address=localhost:${serverPort}`,
          `--metadata-endpoint=${world.metadata.url}`,
          ...tls(agentCertificate, agentKey, ca),
        ],
        environment: world.environment.clean,
        serving: AGENT_SERVES,
      });
      agentPort = portOf(await daemon.child.line(AGENT_SERVES));
      return daemon;
    },
    startKube2iam: async () => {
      const daemon = await daemons.start({
        name: 'kube2iam',
        argv: kiam,
        common: KUBE2IAM_COMMON,
        flags: [
          `--app-port=${agentPort}`,
          `--kubeconfig=${world.kubeconfigs.server}`,
          `--base-role-arn=${world.roleBaseArn}`,
          `--metadata-addr=${new URL(world.metadata.url).host}`,
        ],
        environment: world.environment.server,
        serving: AGENT_SERVES,
      });
      agentPort = portOf(await daemon.child.line(AGENT_SERVES));
      return daemon;
    },
    killAgent: async () => {
      await Promise.all(['agent', 'kube2iam'].map((name) => daemons.kill(name)));
    },
    placeOf: (pod) => ({
      prefix: [],
      environment: {
        ...world.environment.clean,
        ...world.environment.sts,
        AWS_EC2_METADATA_SERVICE_ENDPOINT: metadataUrl(),
        NODE_OPTIONS: `--import=${programs.fromAddress}`,
        KIAM_SANDBOX_POD_ADDRESS: pod.address,
      },
    }),
    close: async () => {
      await daemons.stop();
      await world.close();
    },
    closeSync: () => daemons.stopSync(),
  };
}

export const SERVER_SERVES = /"msg":"will serve on"/;
export const AGENT_SERVES = /"msg":"listening"/;

export function tls(certificate: string, key: string, ca: string): readonly string[] {
  return [`--cert=${certificate}`, `--key=${key}`, `--ca=${ca}`];
}
