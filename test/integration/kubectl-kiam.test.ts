import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { formatAuditLine } from '#domain/audit-line.ts';
import { startChild } from '#sandbox/child.ts';

import type { WorldPod } from '#sandbox/world.ts';

import { askHttp, type Cluster, FROM_SOURCES, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const PLUGIN = fileURLToPath(new URL('../../src/bin/kubectl-kiam.ts', import.meta.url));
const ARN = 'arn:aws:iam::123456789012:role/';
const EVIL = '\u001b[2J\u202e<script>';

function findKubectl(): string | undefined {
  try {
    return execFileSync('sh', ['-c', 'command -v kubectl'], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

const kubectl = findKubectl();

/**
 * kubectl as it is, but for what needs a kubelet: `exec` runs the program here, with the socket of the server that has the pod's
 * name, and `logs` prints a file. It writes down what it is asked.
 */
const STAND_IN = `
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
const { KUBECTL, FOLDER, KIAM } = process.env;
const args = process.argv.slice(2);
appendFileSync(FOLDER + '/asked', args.join(' ') + '\\n');
const at = args.findIndex((word) => ['get', 'exec', 'logs'].includes(word));
const pod = args[at + 2];
if (args[at] === 'get') process.exit(spawnSync(KUBECTL, args, { stdio: 'inherit' }).status);
if (args[at] === 'logs') {
  if (!existsSync(FOLDER + '/' + pod + '.log')) {
    console.error('Error from server: the log is gone');
    process.exit(1);
  }
  process.stdout.write(readFileSync(FOLDER + '/' + pod + '.log'));
  process.exit(0);
}
const [program, ...command] = args.slice(args.indexOf('--') + 1);
if (program !== '/kiam' || pod === 'kiam-server-broken') {
  console.error('error: unable to upgrade connection ${EVIL}');
  process.exit(1);
}
if (!['status', 'explain', 'whois'].includes(command[0])) {
  console.log(pod + ' runs ' + command.join(' ') + '${EVIL}');
  process.exit(pod === 'kiam-server-b' ? 3 : 0);
}
const socket = '--admin-socket=' + FOLDER + '/' + pod + '.sock';
process.exit(spawnSync(process.execPath, [KIAM, ...command, socket], { stdio: 'inherit' }).status);
`;

describe('kubectl kiam', { skip: kubectl === undefined ? 'NOT TESTED: kubectl is not on the PATH' : false }, () => {
  let cluster: Cluster;
  let environment: Record<string, string>;
  let agentPort = 0;
  let app: WorldPod;

  const asked = (): readonly string[] => readFileSync(join(cluster.world.folder, 'asked'), 'utf8').trim().split('\n');
  const run = async (...args: readonly string[]) => {
    const { folder, kubeconfigs } = cluster.world;
    await writeFile(join(folder, 'asked'), '');
    const child = startChild({
      name: 'kubectl kiam',
      argv: [process.execPath, PLUGIN, `--kubeconfig=${kubeconfigs.admin}`, ...args],
      environment,
    });
    const { code } = await child.exited;
    return { code, lines: child.lines, text: child.lines.join('\n') };
  };

  before(async () => {
    const nodes = ['node-1', 'node-2'].map((name, index) => ({ name, address: `127.0.0.${index + 1}` }));
    cluster = await startCluster({ nodes });
    const { world } = cluster;
    const { folder } = world;
    environment = {
      ...world.environment.clean,
      KUBECTL: join(folder, 'kubectl'),
      FOLDER: folder,
    };
    const variables = `KUBECTL='${kubectl ?? ''}' FOLDER='${folder}' KIAM='${FROM_SOURCES.agent[1] ?? ''}'`;
    const program = `#!/bin/sh\n${variables} exec '${process.execPath}' '${join(folder, 'kubectl.mjs')}' "$@"\n`;
    await writeFile(join(folder, 'kubectl.mjs'), STAND_IN);
    await writeFile(join(folder, 'kubectl'), program, { mode: 0o755 });
    world.namespace('team', `${ARN}(reader|denied)`);
    world.sts.role(`${ARN}denied`, { deny: true });
    for (const namespace of ['kube-system', 'other']) world.namespace(namespace);
    const ours = (name: string, labels: Readonly<Record<string, string>>, nodeName: string) =>
      world.pod({ namespace: 'kube-system', name, labels: { app: 'kiam', ...labels }, nodeName, hostNetwork: true });
    await ours('kiam-server-a', { role: 'server' }, 'node-1');
    await ours('kiam-server-b', { component: 'server' }, 'node-2');
    await ours('kiam-agent-1', { role: 'agent' }, 'node-1');
    await ours('kiam-agent-2', { component: 'agent' }, 'node-2');
    await world.pod({ namespace: 'other', name: 'app', labels: { app: 'other', role: 'server' } });
    app = await world.pod({ namespace: 'team', name: 'app', role: 'reader', nodeName: 'node-1' });
    await world.pod({ namespace: 'team', name: 'denied', role: 'denied', nodeName: 'node-1' });
    const a = await cluster.startServer({ flags: [`--admin-socket=${join(folder, 'kiam-server-a.sock')}`] });
    await cluster.startServer({ flags: [`--admin-socket=${join(folder, 'kiam-server-b.sock')}`] });
    const agent = await cluster.startAgent(a.port);
    agentPort = agent.port;
    await agent.child.line(/the server streams what the pods of this node may have/);
    await eventually('STS has answered for all', 20_000, async () =>
      /kiam_sts_entries\{state="failed"\} 1\n/.test(await a.metrics()),
    );
  });
  after(() => cluster.close());

  it('kubectl kiam status asks every server at once and tells one status', async () => {
    const { code, lines, text } = await run('status');
    assert.equal(code, 0, text);
    assert.equal(lines.filter((line) => /^kiam-server-[ab] +\d+\.\d+\.\d+ /.test(line)).length, 2, text);
    assert.ok(
      lines.some((line) => /^REASON {2}STS failed .*AccessDenied/.test(line)),
      text,
    );
    assert.equal(lines.filter((line) => line.includes('team/denied')).length, 1, text);
    assert.ok(
      lines.some((line) => /^node-1 .* (synced|ready|not ready)$/.test(line)),
      text,
    );
    assert.deepEqual(
      asked()
        .map((line) => / (get|exec) .*/.exec(` ${line.replace(/^--kubeconfig=\S+ /, '')}`)?.[0].trim())
        .toSorted(),
      [
        'exec --namespace=kube-system kiam-server-a --container=main -- /kiam status --json --timeout=10000ms',
        'exec --namespace=kube-system kiam-server-b --container=main -- /kiam status --json --timeout=10000ms',
        'get pods --all-namespaces --selector=app=kiam --output=json',
      ],
    );
  });

  it('kubectl kiam status takes the flags of kiam status', async () => {
    const { lines, text } = await run('-n', 'kube-system', 'status', '--failing', '--namespace=team');
    assert.ok(lines.some((line) => line.includes('team/denied')) && !text.includes('REPLICA'), text);
    const { lines: json } = await run('status', '--json', '--namespace', 'other');
    const { replicas } = JSON.parse(json.join('\n')) as { replicas: readonly { pods: number }[] };
    assert.deepEqual(
      replicas.map(({ pods }) => pods),
      [0, 0],
    );
    assert.match((await run('status', '--watches')).text, /unknown flag --watches/);
  });

  it('kubectl kiam explain tells what the server says that has the stream of the node', async () => {
    const { code, lines } = await run('explain', 'team/app');
    assert.equal(code, 0);
    assert.equal(lines[0], `team/app gets credentials: ${ARN}reader`);
    assert.ok(
      lines.some((line) => /ok {2}agent .*these credentials/.test(line)),
      lines.join('\n'),
    );
    const missing = await run('explain', 'team/nobody');
    assert.equal(missing.code, 1);
    const { lines: json } = await run('explain', 'team/denied', '--json');
    assert.equal((JSON.parse(json.join('\n')) as { outcome: string }).outcome, 'gets nothing');
  });

  it('kubectl kiam doctor runs in every server, or on every node, and fails where one of them does', async () => {
    const { code, lines, text } = await run('doctor', '--assume-roles=false');
    assert.equal(code, 1);
    assert.deepEqual(lines.slice(0, 5), [
      '== kube-system/kiam-server-a on node-1',
      'kiam-server-a runs doctor --assume-roles=false?[2J?<script>',
      '',
      '== kube-system/kiam-server-b on node-2',
      'kiam-server-b runs doctor --assume-roles=false?[2J?<script>',
    ]);
    assert.match(text, /^kiam: kube-system\/kiam-server-b on node-2: /m);
    assert.ok(!text.includes('\u001b'));
    const agents = await run('doctor', 'agent');
    assert.equal(agents.code, 0);
    assert.deepEqual(
      agents.lines.filter((line) => line.includes(' runs ')).map((line) => line.slice(0, 25)),
      ['kiam-agent-1 runs doctor?', 'kiam-agent-2 runs doctor?'],
    );
    const one = await run('--node=node-2', 'doctor', 'agent');
    assert.equal(one.lines.filter((line) => line.startsWith('==')).join(), '== kube-system/kiam-agent-2 on node-2');
    const whole = await run('doctor', 'cluster', '--json');
    assert.deepEqual(
      whole.lines.map((line) => line.slice(0, 42)),
      ['kiam-server-a runs doctor cluster --json\u001b['],
    );
  });

  it('kubectl kiam export, policy and health run where they belong', async () => {
    for (const [command, servers] of [
      ['export', 1],
      ['policy', 1],
      ['health', 2],
    ] as const) {
      const { text } = await run(command, '--to=irsa');
      assert.equal(text.match(new RegExp(`kiam-server-\\w runs ${command} --to=irsa`, 'g'))?.length, servers, text);
    }
  });

  it('kubectl kiam whois reads the logs of every agent, or files', async () => {
    const { folder } = cluster.world;
    const line = formatAuditLine({
      time: '2026-01-02T15:04:05Z',
      node: 'node-1',
      namespace: 'team',
      pod: 'app',
      serviceAccount: 'default',
      uid: 'uid-1',
      roleArn: `${ARN}reader`,
      sessionName: 'kiam-kiam',
      accessKeyId: 'ASIAQQQQQQQQQQQQQQQQ',
      expiration: '2026-01-02T16:04:05Z',
    });
    const help = await run('whois', '--help');
    assert.match(help.text, /^kiam whois ACCESS-KEY-ID \[flags\]/);
    await writeFile(join(folder, 'kiam-agent-1.log'), `level=info msg=listening\n${line}`);
    const found = await run('whois', 'ASIAQQQQQQQQQQQQQQQQ');
    assert.match(found.text, /^team\/app \(UID uid-1\)$/m);
    assert.match(found.text, /the log of kube-system\/kiam-agent-2 on node-2 cannot be read: .*the log is gone/);
    assert.equal(asked().filter((words) => words.includes(' logs ')).length, 2);
    const other = await run('whois', 'ASIAAAAAAAAAAAAAAAAA');
    assert.deepEqual([other.code, /no pod was served ASIAAAAAAAAAAAAAAAAA/.test(other.text)], [1, true]);
    const files = await run('whois', 'ASIAQQQQQQQQQQQQQQQQ', `--log=${join(folder, 'kiam-agent-1.log')}`);
    assert.deepEqual([files.code, asked()], [0, ['']], files.text);
  });

  it('kubectl kiam whois asks the servers where no log names a pod', async () => {
    const { body } = await askHttp({ port: agentPort, from: app.address, path: `${LISTING}reader` });
    const { AccessKeyId: key } = JSON.parse(body) as { AccessKeyId: string };
    const { text } = await run('whois', key);
    assert.match(
      text,
      new RegExp(`^team/app \\(UID ${app.uid}\\)\n  by: +the memory of kube-system/kiam-server-a on node-1: `, 'm'),
    );
    assert.equal(text.match(/team\/app/g)?.length, 1);
    assert.match(text, /^kiam: kube-system\/kiam-server-b on node-2: kiam: no pod was served /m);
  });

  it('kubectl kiam says what it cannot do', async () => {
    for (const [args, expected] of [
      [['--kontext=a', 'status'], /unknown flag --kontext: before the command there are --kubeconfig, /],
      [['-n'], /-n needs a value/],
      [['agent'], /this program has no agent/],
      [['--selector=app=nothing', 'status'], /no pod of Kiam runs with the label app=nothing in any namespace/],
      [['--context=nowhere', 'status'], /Kiam's pods cannot be listed: .*nowhere/],
      [['--node=node-9', 'doctor', 'agent'], /none of the pods that it would run in is running/],
    ] as const) {
      const { code, text } = await run(...args);
      assert.equal(code, 1, text);
      assert.match(text, expected);
    }
    const { text } = await run();
    assert.match(text, /^kubectl kiam \[flags\] COMMAND/);
  });

  it('kubectl kiam status shows the servers that answer, and says why another does not, without its control characters', async () => {
    const labels = { app: 'kiam', role: 'server' };
    await cluster.world.pod({ namespace: 'kube-system', name: 'kiam-server-broken', labels, nodeName: 'node-2' });
    const { code, lines, text } = await run('status');
    assert.equal(code, 0);
    assert.equal(lines.filter((line) => /^kiam-server-[ab] +\d+\.\d+\.\d+ /.test(line)).length, 2);
    assert.match(text, /^kiam: kube-system\/kiam-server-broken on node-2: error: unable to upgrade connection \?\[2J/m);
    assert.match(text, /^[\x20-\x7e\n]*$/);
  });
});
