import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { type JsonObject, objectAt, textAt } from '#sandbox/json.ts';
import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { type Answer, askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { diagnose, type Finding } from '../support/doctor.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { DISCOVERY, podToken, type TokenChanges } from '../support/pod-token.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const PATH = '/v1/credentials';
const HOST = '169.254.170.23';
const ACCOUNT = '123456789012';
const LIMIT_MS = 20_000;
const KIAM = fileURLToPath(new URL('../../src/bin/kiam.ts', import.meta.url));

describe('container credentials', () => {
  let cluster: Cluster;
  let server: Daemon;
  let agent: Daemon;
  let port: number;
  let app: WorldPod;
  let neighbour: WorldPod;
  let onNode: WorldPod;
  let elsewhere: WorldPod;

  const tokenOf = (pod: WorldPod, changes?: TokenChanges): string => podToken(cluster.world, pod, changes);
  const ask = (from: string, token: string, more: { host?: string; path?: string; method?: string } = {}) => {
    const { host = HOST, path = PATH, method = 'GET' } = more;
    return askHttp({ port, path, method, from, headers: { host, ...(token === '' ? {} : { authorization: token }) } });
  };
  const isAnswered = (from: string, token: string) => async (): Promise<boolean> =>
    (await ask(from, token)).status === 200;

  before(async () => {
    cluster = await startCluster({
      serverRules: [...SERVER_RULES, DISCOVERY],
      nodes: [
        { name: 'node-1', address: '127.0.0.1' },
        { name: 'node-2', address: '127.0.0.2' },
      ],
    });
    const { world } = cluster;
    world.namespace('team', '.*');
    world.namespace('closed', 'nothing');
    server = await cluster.startServer({ flags: ['--container-credentials'] });
    agent = await cluster.startAgent(server.port, {
      flags: ['--container-credentials', '--container-credentials-port=0'],
    });
    const line = await agent.child.line(/"msg":"container credentials: listening"/);
    port = Number(/:(\d+)"/.exec(line)?.[1]);
    const pod = { namespace: 'team', nodeName: 'node-1' };
    app = await world.pod({ ...pod, name: 'app', role: 'reader' });
    neighbour = await world.pod({ ...pod, name: 'neighbour', role: 'writer' });
    onNode = await world.pod({ ...pod, name: 'on-node', role: 'watcher', hostNetwork: true });
    elsewhere = await world.pod({ ...pod, name: 'elsewhere', role: 'reader', nodeName: 'node-2' });
    await eventually('the pod has credentials', LIMIT_MS, isAnswered(app.address, tokenOf(app)));
  });
  after(() => cluster?.close());

  it('a pod gets the fields of container credentials and no others', async () => {
    const { status, headers, body } = await ask(app.address, tokenOf(app));
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'application/json');
    const fields = JSON.parse(body);
    assert.deepEqual(Object.keys(fields), ['AccessKeyId', 'SecretAccessKey', 'Token', 'AccountId', 'Expiration']);
    assert.equal(fields.AccountId, ACCOUNT);
    assert.match(fields.Expiration, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  it('they are the same credentials as those of the instance metadata', async () => {
    const { body } = await askHttp({ port: agent.port, from: app.address, path: `${LISTING}reader` });
    const { AccessKeyId } = JSON.parse((await ask(app.address, tokenOf(app))).body);
    assert.equal(JSON.parse(body).AccessKeyId, AccessKeyId);
  });

  it('a pod with the host network is served by its token, and never by its address', async () => {
    await eventually('it is served', LIMIT_MS, isAnswered('127.0.0.1', tokenOf(onNode)));
    const byAddress = await askHttp({ port: agent.port, path: `${LISTING}watcher` });
    assert.notEqual(byAddress.status, 200);
  });

  const refusals: readonly (readonly [string, number, () => Promise<Answer>])[] = [
    ['no token', 400, () => ask(app.address, '')],
    ['a text that is no token', 400, () => ask(app.address, 'e30.e30')],
    ['a token after the word Bearer', 400, () => ask(app.address, `Bearer ${tokenOf(app)}`)],
    ['a token of another audience', 400, () => ask(app.address, tokenOf(app, { audience: 'sts.amazonaws.com' }))],
    ['a token that has expired', 400, () => ask(app.address, tokenOf(app, { livesSeconds: -1 }))],
    ['a token that was changed', 400, () => ask(app.address, `${tokenOf(app).slice(0, -8)}AAAAAAAA`)],
    ['a token that is not valid yet', 400, () => ask(app.address, tokenOf(app, { startsInSeconds: 3600 }))],
    ['another Host', 403, () => ask(app.address, tokenOf(app), { host: 'rebound.example.com' })],
    ['another path', 404, () => ask(app.address, tokenOf(app), { path: '/latest/meta-data/' })],
    ['another method', 405, () => ask(app.address, tokenOf(app), { method: 'POST' })],
    ['the token of a pod of the same node', 403, () => ask(neighbour.address, tokenOf(app))],
    ['the token of a pod of another node', 503, () => ask(app.address, tokenOf(elsewhere))],
    ['the token of a pod with the host network, from a pod', 403, () => ask(app.address, tokenOf(onNode))],
    ['the token of a pod, from the host network', 403, () => ask('127.0.0.1', tokenOf(app))],
    ['a token that names another node', 403, () => ask(app.address, tokenOf(app, { nodeName: 'node-2' }))],
    ['a token of another ServiceAccount', 403, () => ask(app.address, tokenOf(app, { serviceAccount: 'admin' }))],
    ['the token of a pod that never was', 503, () => ask('127.0.0.1', tokenOf(app, { uid: 'never' }))],
  ];
  for (const [what, status, request] of refusals) {
    it(`${what} is answered ${status} in one line`, async () => {
      const answer = await request();
      assert.equal(answer.status, status, answer.body);
      assert.match(answer.body, /^[^\n]+\n$/);
      assert.match(String(answer.headers['content-type']), /^text\/plain/);
    });
  }

  it('a pod of another node gets nothing here with a token of its own', async () => {
    const { status } = await ask(elsewhere.address, tokenOf(elsewhere));
    assert.notEqual(status, 200);
  });

  it('a pod without a role is answered 404, and one whose role policy denies 403', async () => {
    const { world } = cluster;
    const none = await world.pod({ namespace: 'team', name: 'none', nodeName: 'node-1' });
    const denied = await world.pod({ namespace: 'closed', name: 'denied', role: 'reader', nodeName: 'node-1' });
    const hosts = { nodeName: 'node-1', hostNetwork: true };
    const noneOnNode = await world.pod({ ...hosts, namespace: 'team', name: 'none-on-node' });
    const deniedOnNode = await world.pod({ ...hosts, namespace: 'closed', name: 'denied-on-node', role: 'reader' });
    const expected: readonly (readonly [string, WorldPod, number])[] = [
      [none.address, none, 404],
      [denied.address, denied, 403],
      ['127.0.0.1', noneOnNode, 404],
      ['127.0.0.1', deniedOnNode, 403],
    ];
    for (const [from, pod, status] of expected) {
      await eventually(
        `${pod.name} is answered ${status}`,
        LIMIT_MS,
        async () => (await ask(from, tokenOf(pod))).status === status,
      );
    }
  });

  it('the token of a ServiceAccount that was deleted and made again is refused within a second', async () => {
    const { world } = cluster;
    const uidOf = (account: JsonObject): string => textAt(objectAt(account, 'metadata'), 'uid');
    const make = (): string => uidOf(world.api.createServiceAccount('team', 'app'));
    const first = make();
    const account = { serviceAccount: 'app', nodeName: 'node-1', role: 'reader' };
    const pod = await world.pod({ ...account, namespace: 'team', name: 'of-account' });
    const token = tokenOf(pod, { serviceAccount: 'app', serviceAccountUid: first });
    await eventually('it is served', LIMIT_MS, isAnswered(pod.address, token));
    world.api.deleteServiceAccount('team', 'app');
    const second = make();
    const madeMs = performance.now();
    while ((await ask(pod.address, token)).status === 200) assert.ok(performance.now() - madeMs < LIMIT_MS);
    assert.ok(performance.now() - madeMs < 1000 + 900, 'a second, and the wait of the last request');
    assert.equal((await ask(pod.address, token)).status, 403);
    const renewed = tokenOf(pod, { serviceAccount: 'app', serviceAccountUid: second });
    assert.equal((await ask(pod.address, renewed)).status, 200);
  });

  it('the token of a deleted pod is refused within a second', async () => {
    const { world } = cluster;
    for (const hostNetwork of [false, true]) {
      const name = `short-${hostNetwork}`;
      const pod = await world.pod({ namespace: 'team', name, role: 'reader', nodeName: 'node-1', hostNetwork });
      const from = hostNetwork ? '127.0.0.1' : pod.address;
      await eventually('it is served', LIMIT_MS, isAnswered(from, tokenOf(pod)));
      world.api.deletePod('team', name);
      const deletedMs = performance.now();
      while ((await ask(from, tokenOf(pod))).status === 200) assert.ok(performance.now() - deletedMs < LIMIT_MS);
      assert.ok(performance.now() - deletedMs < 1000 + 900, 'a second, and the wait of the last request');
    }
  });

  describe('kiam doctor pod asks as the variables of its container say', () => {
    const diagnosed = async (variables: Readonly<Record<string, string>>): Promise<readonly Finding[]> => {
      const { findings } = await diagnose({
        program: KIAM,
        args: ['pod', `--metadata-endpoint=http://127.0.0.1:${agent.port}`],
        environment: { ...cluster.world.environment.clean, ...variables },
      });
      return findings.filter(({ check }) => check === 'container credentials');
    };
    const says = async (uri: string, token: string): Promise<string> => {
      const file = join(cluster.world.folder, 'pod-token');
      await writeFile(file, `${token}\n`);
      const [finding, ...others] = await diagnosed({
        AWS_CONTAINER_CREDENTIALS_FULL_URI: uri,
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file,
      });
      assert.deepEqual(others, []);
      return `${finding?.verdict}: ${finding?.says}`;
    };
    const own = (): string => `http://127.0.0.1:${port}${PATH}`;

    it('kiam doctor pod says until when a pod gets container credentials', async () => {
      assert.match(await says(own(), tokenOf(onNode)), /^ok: this pod gets container credentials until 20[0-9TZ:-]+$/);
    });

    const problems: readonly (readonly [string, () => Promise<string>, RegExp])[] = [
      [
        'a token of another audience',
        () => says(own(), tokenOf(onNode, { audience: 'x' })),
        /: 400 .*another audience$/,
      ],
      ['the token of another pod', () => says(own(), tokenOf(app)), /: 403 /],
      ['another path', () => says(`http://127.0.0.1:${port}/`, tokenOf(onNode)), /: 404 /],
      [
        'a port where nobody listens',
        async () => says(`http://127.0.0.1:${await freePort()}/`, tokenOf(onNode)),
        /: ECONNREFUSED$/,
      ],
      ['a text that is no URL', () => says('169.254.170.23', tokenOf(onNode)), / is no http URL/],
    ];
    for (const [what, request, expected] of problems) {
      it(`kiam doctor pod says what is wrong with ${what}`, async () => {
        const found = await request();
        assert.match(found, /^wrong: /);
        assert.match(found, expected);
        assert.ok(!found.includes('eyJ'), 'no token is shown');
      });
    }

    it('kiam doctor pod says that the token file is not there', async () => {
      const variables = { AWS_CONTAINER_CREDENTIALS_FULL_URI: own(), AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: '/none' };
      const [finding] = await diagnosed(variables);
      assert.match(finding?.says ?? '', /^AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: ENOENT/);
    });

    it('kiam doctor pod asks for no container credentials without the variables', async () => {
      assert.deepEqual(await diagnosed({}), []);
    });
  });

  it('responses are counted by status, and refused tokens by what is wrong with them', async () => {
    const metrics = await agent.metrics();
    assert.match(metrics, /kiam_container_credentials_responses_total\{code="200"\} [1-9]/);
    assert.match(metrics, /kiam_container_credentials_refused_tokens_total\{reason="audience"\} 2/);
  });

  it('no token and no secret is logged', () => {
    const log = [...agent.child.lines, ...server.child.lines].join('\n');
    assert.ok(!log.includes(tokenOf(app).split('.')[1] ?? ''), 'no claims');
    assert.ok(!/SecretAccessKey|eyJhbGciOi/.test(log));
  });

  it('a pod is served on with the server and the API server gone', async () => {
    await server.child.stop('SIGKILL');
    await cluster.world.api.listener.stop();
    const { status } = await ask(app.address, tokenOf(app));
    assert.equal(status, 200);
    assert.equal((await ask('127.0.0.1', tokenOf(onNode))).status, 200);
  });
});
