import { fileURLToPath } from 'node:url';

import { ALLOWED_ROLES_ANNOTATION } from '#domain/allowed-roles.ts';
import { startChild } from '#sandbox/child.ts';
import { textAt } from '#sandbox/json.ts';
import type { Stage } from '#sandbox/stage/stage.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { openStage } from './open-stage.ts';

const LISTING = '/latest/meta-data/iam/security-credentials/';
const NODE_ROLE = 'node';

/** One line a step, with what it took; a fact that does not hold is shown and remembered. */
class Report {
  readonly #startedMs = performance.now();
  #stepMs = performance.now();
  failures = 0;

  step(text: string): void {
    this.#write(`\n${text}`);
    this.#stepMs = performance.now();
  }

  fact(holds: boolean, text: string): void {
    if (!holds) this.failures += 1;
    const tookMs = Math.round(performance.now() - this.#stepMs);
    this.#write(`  ${holds ? 'ok    ' : 'FAILED'} ${text}  (${tookMs} ms)`);
    this.#stepMs = performance.now();
  }

  end(): void {
    const seconds = ((performance.now() - this.#startedMs) / 1000).toFixed(1);
    const verdict = this.failures === 0 ? 'Every fact held.' : `${this.failures} facts did not hold.`;
    this.#write(`\n${verdict} It took ${seconds} s.`);
  }

  #write(text: string): void {
    console.log(text);
  }
}

interface Said {
  readonly code: number | null;
  readonly text: string;
  readonly tookMs: number;
}

/** Runs a program in a pod's place, to its end. */
async function runInPod(stage: Stage, pod: WorldPod, argv: readonly string[]): Promise<Said> {
  const { prefix, environment } = stage.placeOf(pod);
  const startedMs = performance.now();
  const child = startChild({ name: pod.name, argv: [...prefix, ...argv], environment });
  const { code } = await child.exited;
  return { code, text: child.lines.join('\n'), tookMs: performance.now() - startedMs };
}

/** An unmodified AWS SDK with its default credential chain asks STS who it is. */
function whoAmI(stage: Stage, pod: WorldPod): Promise<Said> {
  return runInPod(stage, pod, [process.execPath, fileURLToPath(new URL('whoami.ts', import.meta.url))]);
}

/** One request to the metadata service from the pod, as `curl` would make it: status and body. */
async function ask(stage: Stage, pod: WorldPod, path: string): Promise<Said & { status: number }> {
  const program = `
    const { get } = await import('node:http');
    const request = get(${JSON.stringify(stage.metadataUrl + path)}, { timeout: 2000 }, (answer) => {
      let body = '';
      answer.on('data', (chunk) => { body += chunk; });
      answer.on('end', () => console.log(answer.statusCode + ' ' + body.trim()));
    });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', (error) => console.log('0 ' + error.message));`;
  const said = await runInPod(stage, pod, [process.execPath, '--input-type=module', '-e', program]);
  const [, status = '0', text = ''] = /^(\d+) ?([\s\S]*)$/.exec(said.text) ?? [];
  return { ...said, status: Number(status), text };
}

/** With `--kube2iam`: the same node, and on it `kiam kube2iam` alone. */
async function runKube2iam(report: Report, stage: Stage, again: () => Promise<void>): Promise<void> {
  const { world } = stage;
  report.step('A namespace has a list of the roles below team-a/, as for kube2iam. Another namespace has none.');
  const annotations = { [ALLOWED_ROLES_ANNOTATION]: '["team-a/*"]' };
  world.api.createNamespace({ metadata: { name: 'team-a', annotations } });
  world.namespace('team-b');
  const allowed = await world.pod({ namespace: 'team-a', name: 'reporter', role: 'team-a/reporter' });
  const greedy = await world.pod({ namespace: 'team-a', name: 'greedy', role: 'admin' });
  const plain = await world.pod({ namespace: 'team-a', name: 'plain' });
  const other = await world.pod({ namespace: 'team-b', name: 'other', role: 'team-a/reporter' });
  report.fact(true, [allowed, greedy, plain, other].map((pod) => `${pod.name} ${pod.address}`).join(', '));

  report.step('The pod reporter runs the AWS SDK for JavaScript, with nothing configured.');
  const identity = await whoAmI(stage, allowed);
  const wanted = `arn:aws:sts::${world.accountId}:assumed-role/reporter/kiam-kube2iam`;
  report.fact(identity.text === wanted, `STS says that it is ${identity.text}`);

  report.step('Roles that are not in the list, and a pod without a role, are answered in the words of kube2iam.');
  const refused = await ask(stage, greedy, `${LISTING}admin`);
  report.fact(refused.status === 404 && refused.text.includes('not valid for namespace'), `404 ${refused.text}`);
  const elsewhere = await ask(stage, other, `${LISTING}team-a/reporter`);
  report.fact(elsewhere.status === 404, `and the same role from a namespace without a list: ${elsewhere.status}`);
  const none = await ask(stage, plain, `${LISTING}admin`);
  report.fact(none.status === 404 || none.status === 403, `the pod plain: ${none.status} ${none.text}`);

  report.step('Other metadata of the node is passed on, as by kube2iam; nothing of the node’s role is.');
  const instance = await ask(stage, plain, '/latest/meta-data/instance-id');
  report.fact(instance.status === 200, `instance-id: ${instance.status} ${instance.text}`);
  const profile = await ask(stage, plain, '/latest/meta-data/iam/');
  report.fact(profile.status === 404, `iam/: ${profile.status}`);
  await showEnd(report, stage, allowed, again);
}

async function run(report: Report, stage: Stage, agentAgain: () => Promise<void>): Promise<void> {
  const { world } = stage;
  report.step(
    'A namespace may have the roles below team-a/. Three pods start in it, and a fourth in another namespace.',
  );
  world.namespace('team-a', `arn:aws:iam::${world.accountId}:role/team-a/.*`);
  world.namespace('team-b');
  const allowed = await world.pod({ namespace: 'team-a', name: 'reporter', role: 'team-a/reporter' });
  const greedy = await world.pod({ namespace: 'team-a', name: 'greedy', role: 'admin' });
  const plain = await world.pod({ namespace: 'team-a', name: 'plain' });
  const other = await world.pod({ namespace: 'team-b', name: 'other', role: 'team-a/reporter' });
  const addresses = [allowed, greedy, plain, other].map((pod) => `${pod.name} ${pod.address}`);
  report.fact(true, addresses.join(', '));

  report.step('The pod reporter runs the AWS SDK for JavaScript, with nothing configured.');
  const identity = await whoAmI(stage, allowed);
  const wanted = `arn:aws:sts::${world.accountId}:assumed-role/reporter/kiam-kiam`;
  report.fact(identity.text === wanted, `STS says that it is ${identity.text}`);

  report.step('The pod greedy is annotated with a role that its namespace does not permit.');
  const refused = await ask(stage, greedy, `${LISTING}admin`);
  report.fact(
    refused.status === 403 && refused.text.includes('forbidden by policy'),
    `${refused.status} ${refused.text}`,
  );
  const event = await eventOf(stage, greedy);
  report.fact(event.includes('forbids role'), `Event on the pod: ${event}`);
  const elsewhere = await ask(stage, other, `${LISTING}team-a/reporter`);
  report.fact(elsewhere.status === 403, `and the same role from a namespace without permission: ${elsewhere.status}`);

  report.step('The pod plain has no role.');
  const none = await ask(stage, plain, LISTING);
  report.fact(none.status === 404 && none.text === 'empty role', `${none.status} ${none.text}`);
  const nobody = await whoAmI(stage, plain);
  const saysNone = nobody.code !== 0 && /credentials/i.test(nobody.text);
  report.fact(
    saysNone,
    `the SDK gives up after ${Math.round(nobody.tookMs)} ms: ${nobody.text.split('\n')[0]?.slice(0, 90)}`,
  );

  report.step('A pod asks for other metadata of the node.');
  const blocked = await ask(stage, allowed, '/latest/user-data');
  report.fact(blocked.status === 404, `${blocked.status} ${blocked.text}`);

  await showEnd(report, stage, allowed, agentAgain);
}

async function showEnd(report: Report, stage: Stage, pod: WorldPod, agentAgain: () => Promise<void>): Promise<void> {
  const { world } = stage;
  if (stage.kind === 'namespaces') await showDeadAgent(report, stage, pod, agentAgain);
  const thieves = world.metadata.nodeRoleServedTo({ except: nodeAddresses(stage) });
  report.step('Who was given the credentials of the node’s own role, over all this time?');
  report.fact(
    thieves.length === 0,
    thieves.length === 0 ? 'the node itself, and no pod' : `pods: ${thieves.join(', ')}`,
  );
}

/** The agent is killed: pods then reach nothing, least of all the node's role, until it is back. */
async function showDeadAgent(
  report: Report,
  stage: Stage,
  pod: WorldPod,
  agentAgain: () => Promise<void>,
): Promise<void> {
  report.step(`The agent is killed. A pod asks for the node's role, "${NODE_ROLE}", directly.`);
  stage.world.metadata.clearRequests();
  await stage.killAgent();
  for (const path of [LISTING, `${LISTING}${NODE_ROLE}`]) {
    const answer = await ask(stage, pod, path);
    report.fact(
      answer.status === 0,
      `GET ${path}: ${answer.status === 0 ? answer.text : `${answer.status} ${answer.text}`}`,
    );
  }
  const seen = stage.world.metadata.requests().filter(({ peer }) => !nodeAddresses(stage).includes(peer));
  report.fact(seen.length === 0, `the metadata service saw ${seen.length} requests of pods`);
  report.step('The agent comes back.');
  await agentAgain();
  const identity = await whoAmI(stage, pod);
  report.fact(identity.code === 0, `the pod is ${identity.text} again`);
}

function nodeAddresses(stage: Stage): readonly string[] {
  return stage.kind === 'namespaces' ? ['198.18.0.1'] : ['127.0.0.1'];
}

/** The text of the pod's Event, which is written behind the answer's back. */
async function eventOf(stage: Stage, pod: WorldPod): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const event = stage.world.api.events().find((found) => textAt(found, 'involvedObject', 'uid') === pod.uid);
    if (event !== undefined) return textAt(event, 'message');
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
  return 'none came';
}

async function main(): Promise<number> {
  const report = new Report();
  report.step('The stand-in world: a Kubernetes API, STS and the EC2 metadata service.');
  const opened = await openStage();
  const { stage, reason } = opened;
  try {
    if (reason !== undefined) console.log(`  note   ${reason}: this runs over loopback addresses instead`);
    report.fact(true, stage.description);
    if (process.argv.includes('--kube2iam')) {
      report.step('kiam kube2iam starts on the node, alone, with the flags of kube2iam.');
      await stage.startKube2iam();
      report.fact(true, 'it has listed its pods and the namespaces, and serves');
      await runKube2iam(report, stage, async () => {
        await stage.startKube2iam();
      });
    } else {
      report.step('One server and one agent start on the node, as processes of their own.');
      await stage.startServer();
      report.fact(true, 'the server has listed pods and namespaces, and serves');
      await stage.startAgent();
      report.fact(true, 'the agent serves');
      await run(report, stage, async () => {
        await stage.startAgent();
      });
    }
    report.end();
    return report.failures === 0 ? 0 : 1;
  } finally {
    await opened.close();
  }
}

process.exitCode = await main();
