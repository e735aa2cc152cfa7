import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { textAt } from '#sandbox/json.ts';
import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { KubernetesApi } from '#sandbox/kubernetes-api/api.ts';
import { startApi } from './api-fixture.ts';

const PATH = process.env['PATH'] ?? '';

function kubectlIsThere(): boolean {
  try {
    execFileSync('kubectl', ['version', '--client'], { env: { PATH }, stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const skip = kubectlIsThere() ? false : 'SKIPPED: kubectl is not on PATH, so nothing here was tested';

let folder: string;
let api: KubernetesApi;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiam-kubectl-'));
  api = await startApi();
  await writeFile(join(folder, 'admin'), api.adminKubeconfig());
  await writeFile(join(folder, 'server'), api.identity('kiam-server', SERVER_RULES));
});
after(async () => {
  await api.close();
  await rm(folder, { recursive: true });
});

interface Output {
  readonly code: number | string | null | undefined;
  readonly text: string;
}

function kubectlAs(user: string, ...argv: readonly string[]): Promise<Output> {
  return new Promise((resolve) => {
    const options = { env: { PATH, HOME: folder }, timeout: 20_000 };
    execFile('kubectl', [`--kubeconfig=${join(folder, user)}`, ...argv], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code, text: stdout + stderr });
    });
  });
}

/** Runs kubectl as administrator; fails the test when it fails. */
async function kubectl(...argv: readonly string[]): Promise<string> {
  const { code, text } = await kubectlAs('admin', ...argv);
  assert.equal(code, 0, `kubectl ${argv.join(' ')}: ${text}`);
  return text;
}

async function manifest(role: string): Promise<string> {
  const file = join(folder, 'manifest.yaml');
  const namespace =
    'apiVersion: v1\nkind: Namespace\nmetadata: {name: applied, annotations: {iam.amazonaws.com/permitted: ".*"}}\n';
  const pod = `apiVersion: v1\nkind: Pod\nmetadata: {name: app, namespace: applied, annotations: {iam.amazonaws.com/role: ${role}}}\nspec: {containers: [{name: a, image: b}]}\n`;
  await writeFile(file, `${namespace}---\n${pod}`);
  return file;
}

test('kubectl applies, changes and shows what a user of Kiam works with', { skip }, async () => {
  assert.match(await kubectl('apply', '-f', await manifest('reader')), /namespace\/applied created\npod\/app created/);
  assert.match(
    await kubectl('apply', '-f', await manifest('writer')),
    /namespace\/applied unchanged\npod\/app configured/,
  );
  assert.equal(textAt(api.pod('applied', 'app'), 'metadata', 'annotations', 'iam.amazonaws.com/role'), 'writer');
  await kubectl('wait', '--for=condition=Ready', '--namespace=applied', 'pod/app', '--timeout=10s');
  assert.match(
    await kubectl('get', 'pods', '--all-namespaces', '--output=wide'),
    /NAMESPACE +NAME +READY +STATUS.*IP +NODE[^]*applied +app +1\/1 +Running .*127\.1\.0\.\d+ +node-1/,
  );
  await kubectl('annotate', 'namespace', 'applied', 'iam.amazonaws.com/permitted=reader', '--overwrite');
  await kubectl('label', '--namespace=applied', 'pod', 'app', 'team=a');
  assert.match(await kubectl('get', 'pods', '--all-namespaces', '--selector=team=a', '--output=name'), /pod\/app/);
  assert.match(await kubectl('describe', 'namespace', 'applied'), /iam.amazonaws.com\/permitted: reader/);
});

test('kubectl runs and deletes pods and namespaces', { skip }, async () => {
  await kubectl('create', 'namespace', 'made');
  await kubectl('run', 'one', '--namespace=made', '--image=app', '--annotations=iam.amazonaws.com/role=reader');
  assert.match(await kubectl('get', 'namespaces'), /made +Active/);
  assert.match(await kubectl('delete', 'pod', '--namespace=made', 'one'), /deleted/);
  assert.equal(api.pod('made', 'one'), undefined);
  await kubectl('run', 'two', '--namespace=made', '--image=app');
  await kubectl('delete', 'namespace', 'made');
  assert.deepEqual([api.pod('made', 'two'), api.namespace('made')], [undefined, undefined]);
});

test('kubectl shows the events of a pod', { skip }, async () => {
  await kubectl('run', 'eventful', '--image=app');
  const pod = api.pod('default', 'eventful');
  const file = join(folder, 'event.json');
  const involvedObject = {
    kind: 'Pod',
    apiVersion: 'v1',
    namespace: 'default',
    name: 'eventful',
    uid: textAt(pod, 'metadata', 'uid'),
  };
  const now = new Date().toISOString().replace(/\.\d+/, '');
  const event = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: 'eventful.1', namespace: 'default' },
    involvedObject,
    reason: 'KiamRoleForbidden',
    message: 'failed assuming role "x"',
    source: { component: 'kiam.server' },
    type: 'Warning',
    count: 1,
    firstTimestamp: now,
    lastTimestamp: now,
  };
  await writeFile(file, JSON.stringify(event));
  await kubectl('create', '-f', file);
  assert.match(await kubectl('get', 'events'), /Warning +KiamRoleForbidden +pod\/eventful +failed assuming role "x"/);
  assert.match(
    await kubectl('describe', 'pod', 'eventful'),
    /Warning +KiamRoleForbidden .* kiam\.server +failed assuming role/,
  );
  assert.equal(api.events().length, 1);
});

test('kubectl is told what it may not do', { skip }, async () => {
  assert.equal((await kubectlAs('server', 'get', 'pods')).code, 0);
  const { code, text } = await kubectlAs('server', 'get', 'nodes');
  assert.equal(code, 1);
  assert.match(
    text,
    /nodes is forbidden: User "kiam-server" cannot list resource "nodes" in API group "" at the cluster scope/,
  );
  assert.match((await kubectlAs('server', 'auth', 'can-i', 'delete', 'pods')).text, /^no/);
});

test('kubectl follows changes', { skip }, async () => {
  const argv = [`--kubeconfig=${join(folder, 'admin')}`, 'get', 'namespaces', '--watch', '--output=name'];
  const child = spawn('kubectl', argv, { env: { PATH, HOME: folder }, stdio: ['ignore', 'pipe', 'ignore'] });
  let seen = '';
  for await (const chunk of child.stdout) {
    seen += String(chunk);
    if (seen.includes('namespace/default') && api.namespace('followed') === undefined)
      api.createNamespace({ metadata: { name: 'followed' } });
    if (seen.includes('namespace/followed')) break;
  }
  child.kill();
  assert.match(seen, /namespace\/followed/);
});
