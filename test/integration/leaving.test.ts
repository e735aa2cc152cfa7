import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { startChild, type Child } from '#sandbox/child.ts';
import { exportPlan } from '#export/export.ts';
import type { Destination } from '#export/plan.ts';
import { exportScript } from '#export/render.ts';

import { startCluster } from '../support/cluster.ts';
import { pythonPackages } from '../support/installed.ts';
import { ARN, IRSA, leavingCluster, POD_IDENTITY, workloadPod } from '../support/leaving-cluster.ts';

const PACKAGES = ['awscli==1.46.3', 'moto[server,iam]==5.2.5'];
const STAND_IN = fileURLToPath(new URL('../support/aws_stand_in.py', import.meta.url));
const run = promisify(execFile);

async function findPackages(): Promise<Awaited<ReturnType<typeof pythonPackages>> | string> {
  try {
    await run('jq', ['--version']);
    return await pythonPackages(PACKAGES);
  } catch (error) {
    return `NOT TESTED: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`;
  }
}

const packages = await findPackages();

describe('kiam export', () => {
  it('kiam export reads a cluster by its kubeconfig, prints a script or JSON, and changes nothing', async (t) => {
    const cluster = await startCluster();
    t.after(() => cluster.close());
    const { world } = cluster;
    world.namespace('team', '.*');
    await world.pod({ namespace: 'team', name: 'app', role: 'reader', serviceAccount: 'app' });
    await world.pod({ namespace: 'team', name: 'vendor', role: 'reader', serviceAccount: 'vendor', externalId: 'abc' });
    const flags = [
      '--to=pod-identity',
      `--kubeconfig=${world.kubeconfigs.server}`,
      '--cluster-name=production',
      '--region=eu-west-1',
      `--role-base-arn=${ARN}`,
    ];
    const script = await cluster.run(['export', ...flags]);
    assert.equal(script.code, 0, script.lines.join('\n'));
    assert.ok(script.lines.some((line) => /^associated team app \S+reader \|\| aws eks create-pod-id/.test(line)));
    assert.ok(script.lines.some((line) => line.startsWith('#   team/vendor: it has iam.amazonaws.com/external-id')));
    const { code, lines } = await cluster.run(['export', ...flags, '--json', '--undo']);
    assert.equal(code, 0);
    const document = JSON.parse(lines.join('\n')) as { undo: boolean; pods: { name: string; outcome: string }[] };
    assert.equal(document.undo, true);
    assert.deepEqual(
      document.pods.map(({ name, outcome }) => [name, outcome]),
      [
        ['app', 'moves'],
        ['vendor', 'cannot'],
      ],
    );
  });
});

describe('the script of kiam export', { skip: typeof packages === 'string' ? packages : false }, () => {
  let folder: string;
  let environment: Record<string, string>;
  let moto: Child | undefined;

  before(async () => {
    assert.ok(typeof packages !== 'string');
    folder = await mkdtemp(join(tmpdir(), 'kiam-leaving-'));
    const { python, environment: ofPython } = packages;
    await mkdir(join(folder, 'bin'));
    const program = (name: string, lines: readonly string[]) =>
      writeFile(join(folder, 'bin', name), ['#!/bin/sh', ...lines, ''].join('\n'), { mode: 0o755 });
    await program('aws', [`exec '${python}' '${STAND_IN}' "$@"`]);
    await program('kubectl', [
      'case "$*" in *"--dry-run=client"*) echo made ;; *--filename=-*) cat > /dev/null ;; esac',
      'printf \'["kubectl","%s"]\\n\' "$*" >> "$STAND_IN_LOG"',
    ]);
    await writeFile(join(folder, 'config'), '[profile account-999999999999]\nregion = eu-west-1\n');
    environment = {
      AWS_CONFIG_FILE: join(folder, 'config'),
      PATH: `${join(folder, 'bin')}:/usr/local/bin:/usr/bin:/bin`,
      HOME: folder,
      AWS_ACCESS_KEY_ID: 'a',
      AWS_SECRET_ACCESS_KEY: 's',
      AWS_DEFAULT_REGION: 'eu-west-1',
      KIAM_EXPORT_WAIT: '0',
      STAND_IN_STATE: join(folder, 'state.json'),
      STAND_IN_LOG: join(folder, 'log'),
      ...ofPython,
    };
    moto = startChild({
      name: 'moto',
      argv: [python, '-m', 'moto.server', '-H', '127.0.0.1', '-p', '0'],
      environment,
    });
    const line = await moto.line(/Running on http:/, 60_000);
    environment['AWS_ENDPOINT_URL'] = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0] ?? '';
  });
  after(async () => {
    await moto?.stop('SIGKILL');
    await rm(folder, { recursive: true });
  });

  const aws = async (...args: readonly string[]): Promise<string> => {
    assert.ok(typeof packages !== 'string');
    return (await run(packages.python, ['-m', 'awscli', ...args], { env: environment })).stdout;
  };
  const sids = async (role: string): Promise<readonly string[]> => {
    const text = await aws('iam', 'get-role', '--role-name', role, '--query', 'Role.AssumeRolePolicyDocument');
    const { Statement } = JSON.parse(text) as { Statement: { Sid: string }[] };
    return Statement.map(({ Sid }) => Sid.replace(/[0-9a-f]{8}(\d)$/, '$1'));
  };
  /** What was called meanwhile, each as one line. */
  const runScript = async (script: string): Promise<readonly string[]> => {
    await writeFile(join(folder, 'log'), '');
    await writeFile(join(folder, 'script.sh'), script);
    await run('sh', [join(folder, 'script.sh')], { env: environment, cwd: folder });
    const log = (await readFile(join(folder, 'log'), 'utf8')).trim().split('\n');
    return log.map((line) => (JSON.parse(line) as string[]).join(' '));
  };
  const createRole = async (name: string): Promise<void> => {
    const statement = { Sid: 'Kiam', Effect: 'Allow', Principal: { AWS: `${ARN}kiam` }, Action: 'sts:AssumeRole' };
    const document = JSON.stringify({ Version: '2012-10-17', Statement: statement });
    await aws('iam', 'create-role', '--role-name', name, '--assume-role-policy-document', document);
  };
  const clusterWith = (prefix: string) => ({
    pods: [
      workloadPod({ name: 'a', role: `${prefix}reader`, serviceAccount: 'app', owner: 'deployment/app' }),
      workloadPod({ name: 'b', role: `${prefix}reader`, serviceAccount: 'shared' }),
      workloadPod({ name: 'c', role: `${prefix}writer`, serviceAccount: 'shared' }),
    ],
    namespaces: [{ name: 'team', permitted: '.*' }],
    serviceAccounts: [],
    baseArn: ARN,
    strict: true,
    listFormat: 'glob' as const,
  });

  it('kiam export has only commands that the stock AWS CLI accepts, for 1,000 pods, there and back', async () => {
    assert.ok(typeof packages !== 'string');
    const { cluster } = leavingCluster(1000);
    const intermediateRole = `${ARN}pods`;
    // The judge sends what it judges: the cluster that is moved later has an issuer of its own.
    const judged = { ...IRSA, oidcIssuer: 'https://oidc.eks.eu-west-1.amazonaws.com/id/FEDCBA9876543210' };
    const all: readonly Destination[] = [{ ...POD_IDENTITY, intermediateRole }, judged];
    const plans = all.flatMap((destination) => [false, true].map((undo) => exportPlan(cluster, destination, undo)));
    const lines = plans.flatMap(({ steps }) => steps.flatMap(({ commands }) => commands));
    const commands = lines.flatMap((line) => line.split(' || ')).filter((part) => part.startsWith('aws '));
    const words = commands.map((part) => part.replace(/ > .*/, '').split(' ').slice(1));
    await writeFile(join(folder, 'commands.json'), JSON.stringify(words));
    await writeFile(join(folder, 'intermediate-role.json'), '{}');
    const argv = [STAND_IN, '--judge', join(folder, 'commands.json')];
    const { stdout } = await run(packages.python, argv, { env: environment, cwd: folder, maxBuffer: 1 << 24 });
    const { judged: count, refused } = JSON.parse(stdout) as { judged: number; refused: unknown[] };
    assert.ok(count > 400, String(count));
    assert.deepEqual(refused, []);
    const wrong = JSON.stringify([['eks', 'create-pod-identity-association', '--cluster-name', 'x']]);
    await writeFile(join(folder, 'commands.json'), wrong);
    const judgedWrong = await run(packages.python, argv, { env: environment });
    assert.match(judgedWrong.stdout, /required: --namespace/, 'the judge can say no');
  });

  for (const destination of [POD_IDENTITY, IRSA]) {
    it(`kiam export moves pods to ${destination.to} twice alike, and back`, async () => {
      const prefix = `${destination.to}-`;
      for (const name of ['reader', 'writer']) await createRole(prefix + name);
      const there = exportScript(exportPlan(clusterWith(prefix), destination, false));
      const first = await runScript(there);
      const after = { first: await sids(`${prefix}reader`), second: [] as readonly string[] };
      const again = await runScript(there);
      after.second = await sids(`${prefix}reader`);
      assert.deepEqual(after, { first: ['Kiam', 'KiamExport1'], second: ['Kiam', 'KiamExport1'] });
      const creations = /create-(pod-identity-association|open-id-connect-provider|addon) /;
      const isCreation = (line: string): boolean => creations.test(line);
      assert.equal(first.filter(isCreation).length, destination.to === 'irsa' ? 1 : 4);
      assert.deepEqual(again.filter(isCreation), [], 'the second time nothing is made');
      const lastTrust = first.findLastIndex((line) => line.includes('update-assume-role-policy'));
      const firstSent = first.findIndex((line) => /create-pod-identity|kubectl annotate/.test(line));
      const restarted = first.findIndex((line) => line.includes('rollout restart deployment/app'));
      const lastSent = first.findLastIndex((line) => /create-pod-identity|kubectl annotate/.test(line));
      assert.ok(lastTrust < firstSent && lastSent < restarted, first.join('\n'));
      const back = await runScript(exportScript(exportPlan(clusterWith(prefix), destination, true)));
      assert.deepEqual(await sids(`${prefix}reader`), ['Kiam']);
      assert.ok(back.some((line) => line.includes('rollout restart deployment/app')));
      if (destination.to === 'pod-identity') {
        const { associations } = JSON.parse(await readFile(join(folder, 'state.json'), 'utf8')) as {
          associations: object;
        };
        assert.deepEqual(associations, {});
      }
    });
  }

  it('kiam export stops where a ServiceAccount is associated with another role, before any pod is restarted', async () => {
    const association = { associationId: 'a-1', who: ['team', 'app'], tags: {}, roleArn: `${ARN}other` };
    await writeFile(join(folder, 'state.json'), JSON.stringify({ addon: true, associations: { 'a-1': association } }));
    const plan = exportScript(exportPlan(clusterWith('pod-identity-'), POD_IDENTITY, false));
    await assert.rejects(
      runScript(plan),
      /team\/app is associated with arn:aws:iam::123456789012:role\/other, not with/,
    );
    assert.doesNotMatch(await readFile(join(folder, 'log'), 'utf8'), /rollout restart/);
    await runScript(exportScript(exportPlan(clusterWith('pod-identity-'), POD_IDENTITY, true)));
    const state = await readFile(join(folder, 'state.json'), 'utf8');
    assert.match(state, /role\/other/, 'what others made stays');
  });
});
