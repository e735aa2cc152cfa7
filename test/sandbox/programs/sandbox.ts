import type { Stage, StageDaemon } from '#sandbox/stage/stage.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { openStage } from './open-stage.ts';

/** The sandbox as scripts want to know it: `npm run sandbox -- --json`. */
interface Description {
  readonly kind: Stage['kind'];
  readonly metadataUrl: string;
  readonly stsUrl: string;
  readonly kubeconfig: string;
  /** Words that go before a command on the node. */
  readonly node: readonly string[];
  readonly agent: { readonly pid: number | undefined; readonly metrics: string };
  readonly server: { readonly pid: number | undefined; readonly metrics: string };
  readonly namespaces: readonly string[];
  readonly pods: readonly { readonly name: string; readonly address: string; readonly exec: readonly string[] }[];
}

function describe(stage: Stage, server: StageDaemon, agent: StageDaemon, pods: readonly WorldPod[]): Description {
  const { world } = stage;
  return {
    kind: stage.kind,
    metadataUrl: stage.metadataUrl,
    stsUrl: world.sts.url,
    kubeconfig: world.kubeconfigs.admin,
    node: stage.nodePrefix,
    agent: { pid: agent.child.process.pid, metrics: `${agent.metricsUrl}/metrics` },
    server: { pid: server.child.process.pid, metrics: `${server.metricsUrl}/metrics` },
    namespaces: ['team-a'],
    pods: pods.map((pod) => ({ name: pod.name, address: pod.address, exec: stage.placeOf(pod).prefix })),
  };
}

function explain(stage: Stage, description: Description, pod: WorldPod): string {
  const node = stage.nodePrefix.join(' ');
  const onNode = node === '' ? '' : `${node} `;
  const { prefix } = stage.placeOf(pod);
  const curl = prefix.length > 0 ? `${prefix.join(' ')} curl` : `curl --interface ${pod.address}`;
  const kubectl = `${onNode}kubectl --kubeconfig=${description.kubeconfig}`;
  return [
    `The sandbox is up: ${stage.description}.`,
    '',
    'Ask as the pod reporter, which has the role team-a/reporter:',
    `  ${curl} ${stage.metadataUrl}/latest/meta-data/iam/security-credentials/`,
    `  ${curl} ${stage.metadataUrl}/latest/meta-data/iam/security-credentials/team-a/reporter`,
    '',
    'Look at the cluster, and change it:',
    `  ${kubectl} get pods -A`,
    `  ${kubectl} -n team-a annotate pod plain iam.amazonaws.com/role=team-a/other --overwrite`,
    `  ${kubectl} annotate namespace team-a iam.amazonaws.com/permitted='.*' --overwrite`,
    `  ${kubectl} get events -A`,
    '',
    'Ask the server why a pod gets what it gets:',
    `  ${onNode}node_modules/.bin/node src/bin/kiam.ts explain team-a/reporter`,
    '',
    'Metrics of the two daemons:',
    `  ${onNode}curl ${description.agent.metrics}`,
    `  ${onNode}curl ${description.server.metrics}`,
    '',
    'Ctrl-C ends it and leaves nothing behind.',
  ].join('\n');
}

async function main(): Promise<void> {
  const json = process.argv.includes('--json');
  const { stage, reason } = await openStage();
  if (reason !== undefined) console.error(`note: ${reason}: the sandbox runs over loopback addresses instead`);
  const server = await stage.startServer();
  const agent = await stage.startAgent();
  const { world } = stage;
  world.namespace('team-a', `arn:aws:iam::${world.accountId}:role/team-a/.*`);
  const reporter = await world.pod({ namespace: 'team-a', name: 'reporter', role: 'team-a/reporter' });
  const plain = await world.pod({ namespace: 'team-a', name: 'plain' });
  const description = describe(stage, server, agent, [reporter, plain]);
  console.log(json ? JSON.stringify(description) : explain(stage, description, reporter));
  const ended = await Promise.race([
    server.child.exited.then(() => server.child),
    agent.child.exited.then(() => agent.child),
  ]);
  console.error(`the ${ended.name} has ended:\n${ended.lines.slice(-10).join('\n')}`);
  process.exit(1);
}

await main();
