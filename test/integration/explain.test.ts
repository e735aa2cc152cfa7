import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const EXTERNAL_ID = 'an-external-id-that-nobody-is-told';
const ARN = 'arn:aws:iam::123456789012:role/';
const CONTESTED = '127.1.200.1';

interface Run {
  readonly code: number | null;
  readonly text: string;
}

interface Explained {
  readonly outcome: string;
  readonly because: string;
  readonly links: readonly {
    readonly link: string;
    readonly verdict: string;
    readonly facts: Record<string, unknown>;
  }[];
}

describe('kiam explain', () => {
  let cluster: Cluster;
  let server: Daemon;
  let agent: Daemon;
  /** All that any explanation has said, for the last test. */
  const said: string[] = [];

  const socket = (): string => join(cluster.world.folder, 'admin.sock');
  const run = async (...args: readonly string[]): Promise<Run> => {
    const { code, lines } = await cluster.run(['explain', ...args]);
    const text = lines.join('\n');
    said.push(text);
    return { code, text };
  };
  const ask = (pod: string): Promise<Run> => run(pod, `--admin-socket=${socket()}`);
  const askJson = async (pod: string): Promise<Explained> => {
    const { text } = await run(pod, `--admin-socket=${socket()}`, '--json');
    return JSON.parse(text) as Explained;
  };
  const factsOf = ({ links }: Explained, name: string): Record<string, unknown> => {
    const link = links.find((candidate) => candidate.link === name);
    assert.ok(link !== undefined, `no ${name} among ${links.map((candidate) => candidate.link).join(', ')}`);
    return { verdict: link.verdict, ...link.facts };
  };
  const credentialsOf = async (pod: { address: string }, role: string): Promise<Record<string, string>> => {
    const { body } = await askHttp({ port: agent.port, from: pod.address, path: `${LISTING}${role}` });
    return JSON.parse(body) as Record<string, string>;
  };

  before(async () => {
    const mayReview = { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] };
    cluster = await startCluster({ serverRules: [...SERVER_RULES, mayReview] });
    const { world } = cluster;
    world.namespace('team', `${ARN}.*`);
    world.namespace('closed');
    world.namespace('broken', '(');
    world.sts.role(`${ARN}denied`, { deny: true });
    world.sts.role(`${ARN}throttled`, { throttle: true });
    await world.pod({ namespace: 'team', name: 'app', role: 'reader', sessionName: 'mine', externalId: EXTERNAL_ID });
    await world.pod({ namespace: 'team', name: 'plain' });
    await world.pod({ namespace: 'team', name: 'host', role: 'reader', hostNetwork: true });
    await world.pod({ namespace: 'team', name: 'denied', role: 'denied', externalId: EXTERNAL_ID });
    await world.pod({ namespace: 'team', name: 'throttled', role: 'throttled' });
    await world.pod({ namespace: 'team', name: 'nonsense', role: 'arn:aws:s3:::bucket\u001b[31m' });
    await world.pod({ namespace: 'closed', name: 'app', role: 'reader' });
    await world.pod({ namespace: 'broken', name: 'app', role: 'reader' });
    for (const [name, hostIP] of [
      ['one', '127.0.0.1'],
      ['other', '127.0.0.9'],
      ['third', '127.0.0.9'],
    ] as const) {
      world.api.putPod({
        metadata: { namespace: 'team', name, annotations: { 'iam.amazonaws.com/role': 'reader' } },
        spec: { containers: [] },
        status: { phase: 'Running', hostIP, podIP: CONTESTED, podIPs: [{ ip: CONTESTED }] },
      });
    }
    server = await cluster.startServer({ flags: [`--admin-socket=${socket()}`] });
    agent = await cluster.startAgent(server.port);
    await agent.child.line(/the server streams what the pods of this node may have/);
    await eventually('STS has answered for all', 10_000, async () => {
      const metrics = await server.metrics();
      return /kiam_sts_entries\{state="fresh"\} 2\n/.test(metrics) && /state="failed"\} 2\n/.test(metrics);
    });
  });

  after(() => cluster.close());

  it('kiam explain follows a permitted pod to its credentials, whose life it does not touch', async () => {
    const callsBefore = cluster.world.sts.calls.count();
    const explained = await askJson('team/app');
    assert.deepEqual([explained.outcome, explained.because], ['gets credentials', `${ARN}reader`]);
    assert.deepEqual(
      explained.links.map(({ link, verdict }) => `${link} ${verdict}`),
      [
        'view ok',
        'pod ok',
        'address ok',
        'role ok',
        'way ok',
        'policy ok',
        'session ok',
        'confirmed note',
        'credentials ok',
        'agent ok',
      ],
    );
    assert.deepEqual(factsOf(explained, 'session'), {
      verdict: 'ok',
      name: 'kiam-mine',
      externalId: '******',
      sourceIdentity: null,
      tags: [],
      transitiveTags: false,
    });
    const { remainingSeconds, nextCallInSeconds, served, failure } = factsOf(explained, 'credentials');
    assert.deepEqual([served, failure], [true, null]);
    assert.ok(Number(remainingSeconds) > 3400 && Number(remainingSeconds) <= 3600, String(remainingSeconds));
    // Half of the hour less up to a tenth of that.
    assert.ok(Number(nextCallInSeconds) > 1400 && Number(nextCallInSeconds) <= 1800, String(nextCallInSeconds));
    const again = factsOf(await askJson('team/app'), 'credentials');
    assert.ok(Number(again['nextCallInSeconds']) <= Number(nextCallInSeconds), 'its renewal was put off');
    assert.equal(
      cluster.world.sts.calls.countOf({ roleArn: `${ARN}reader`, sessionName: 'kiam-mine', externalId: EXTERNAL_ID }),
      1,
    );
    assert.ok(cluster.world.sts.calls.count() - callsBefore <= 4, 'only what failed was asked again');
  });

  it('kiam explain says it in lines as well, and exits 0', async () => {
    const { code, text } = await ask('team/app');
    assert.equal(code, 0, text);
    assert.match(text, /^team\/app gets credentials: arn:aws:iam::123456789012:role\/reader\n/);
    assert.match(
      text,
      /^ {2}ok {2}policy {7}"arn:aws:iam::123456789012:role\/\.\*" \(.*namespace team\) matches the ARN$/m,
    );
    assert.match(
      text,
      /^ {2}ok {2}credentials {2}STS issued them at .*Z; 59m\d+s are left, until .*Z; renewed in 2\dm\d+s$/m,
    );
    assert.match(text, /^ {2}ok {2}agent {8}has been told of the pod and these credentials, .*proven by its address$/m);
  });

  it('kiam explain says when the API server has confirmed the address', async () => {
    const pod = cluster.world.api.pod('team', 'app');
    assert.ok(pod !== undefined);
    const { address } = await cluster.world.pod({ namespace: 'team', name: 'asking', role: 'asking' });
    assert.equal((await credentialsOf({ address }, 'asking'))['Code'], 'Success');
    const { verdict, secondsAgo } = factsOf(await askJson('team/asking'), 'confirmed');
    assert.equal(verdict, 'ok');
    assert.ok(Number(secondsAgo) < 60, String(secondsAgo));
  });

  const refusals: readonly (readonly [string, string, string, RegExp])[] = [
    ['no permission', 'closed/app', 'policy', /namespace policy expression '\(empty\)' forbids role 'reader'/],
    ['a broken expression', 'broken/app', 'policy', /namespace policy expression '\(' is invalid: /],
    ['no role', 'team/plain', 'role', /annotated with no role \(iam\.amazonaws\.com\/role\)/],
    ['a role that is none', 'team/nonsense', 'role', /is not the ARN of a role/],
    ['hostNetwork', 'team/host', 'pod', /it has hostNetwork/],
    [
      'an address that is another pod’s too',
      'team/other',
      'address',
      /127\.1\.200\.1 is claimed by .*team\/third.*multiple running pods found/,
    ],
    ['STS’s refusal', 'team/denied', 'credentials', /AccessDenied: User: .*next try when the pod asks/],
    ['STS’s throttling', 'team/throttled', 'credentials', /STS failed .* ago.*: Throttling: Rate exceeded; /],
  ];
  for (const [what, pod, link, text] of refusals) {
    it(`kiam explain names what breaks the chain: ${what}`, async () => {
      const answer = await ask(pod);
      assert.equal(answer.code, 0);
      const [headline = ''] = answer.text.split('\n');
      assert.ok(headline.startsWith(`${pod} gets nothing: `), headline);
      assert.match(headline, text);
      const line = answer.text.split('\n').find((candidate) => candidate.startsWith('  NO  '));
      assert.ok(line?.startsWith(`  NO  ${link.padEnd(11)}  `), answer.text);
      // oxlint-disable-next-line no-control-regex -- that is what must not be there
      assert.doesNotMatch(answer.text, /[\u0000-\u0009\u000b-\u001f\u007f-\uffff]/);
    });
  }

  it('kiam explain says when STS will be asked again: by itself after what passes, for a pod that asks after a refusal', async () => {
    const [denied, throttled] = [await askJson('team/denied'), await askJson('team/throttled')];
    const { failureCode, failures, failedSecondsAgo, nextCallIsAutomatic, nextCallInSeconds } = factsOf(
      denied,
      'credentials',
    );
    assert.deepEqual([failureCode, failures, nextCallIsAutomatic], ['AccessDenied', 1, false]);
    assert.ok(Number(failedSecondsAgo) < 120 && Number(nextCallInSeconds) <= 2);
    const waiting = factsOf(throttled, 'credentials');
    assert.deepEqual([waiting['failureCode'], waiting['failure']], ['Throttling', 'throttled']);
    assert.notEqual(waiting['nextCallIsAutomatic'], false);
  });

  it('kiam explain takes the pod of the asking node for the owner of a contested address, as the server does', async () => {
    const explained = await askJson('team/one');
    const { verdict, own, claimedBy } = factsOf(explained, 'address');
    assert.deepEqual([verdict, own, claimedBy], ['ok', [CONTESTED], ['team/other', 'team/third']]);
  });

  it('kiam explain knows no pod that the cluster does not have, and exits 1', async () => {
    const { code, text } = await ask('team/nobody');
    assert.equal(code, 1);
    assert.match(text, /^team\/nobody gets nothing: this server knows no such pod$/m);
  });

  it('kiam explain tells what the agent of the node has been told: no credentials where policy takes them away', async () => {
    const { world } = cluster;
    world.namespace('fickle', '.*');
    await world.pod({ namespace: 'fickle', name: 'app', role: 'fickle' });
    await eventually('the agent is told', 5000, async () => {
      return factsOf(await askJson('fickle/app'), 'agent')['told'] === 'credentials';
    });
    world.namespace('fickle');
    await eventually('the agent is told otherwise', 5000, async () => {
      return factsOf(await askJson('fickle/app'), 'agent')['told'] === 'pod';
    });
  });

  it('kiam explain sees whose stream is open, by which proof, and that it has gone', async () => {
    const other = join(cluster.world.folder, 'other.sock');
    const second = await cluster.startServer({ flags: ['--agent-identity=token', `--admin-socket=${other}`] });
    const explained = async (): Promise<Record<string, unknown>> => {
      const { text } = await run('team/app', `--admin-socket=${other}`, '--json');
      return factsOf(JSON.parse(text) as Explained, 'agent');
    };
    assert.equal((await explained())['streams'], 0, 'the other replica has the stream');
    const { uid } = await cluster.world.pod({ namespace: 'kube-system', name: 'kiam-agent', hostNetwork: true });
    const token = cluster.world.api.serviceAccountToken({
      namespace: 'kube-system',
      serviceAccount: 'kiam-agent',
      audiences: ['kiam-server'],
      pod: { name: 'kiam-agent', uid },
    });
    const file = join(cluster.world.folder, 'agent.token');
    await writeFile(file, token);
    const proven = await cluster.startAgent(second.port, { flags: [`--agent-token-file=${file}`] });
    await proven.child.line(/the server streams what the pods of this node may have/);
    await eventually('it has been told', 5000, async () => (await explained())['told'] === 'credentials');
    assert.equal((await explained())['proof'], 'token');
    await proven.child.stop('SIGKILL');
    await eventually('its stream has gone', 15_000, async () => (await explained())['streams'] === 0);
    for (const text of said) assert.ok(!text.includes(token));
    await second.child.stop();
  });

  it('kiam explain works without a server from the API alone, and says what that cannot tell', async () => {
    const api = `--kubeconfig=${cluster.world.kubeconfigs.server}`;
    const base = `--role-base-arn=${cluster.world.roleBaseArn}`;
    const permitted = await run('team/app', api, base);
    assert.equal(permitted.code, 0, permitted.text);
    assert.match(permitted.text, /^team\/app is permitted its role: arn:aws:iam::123456789012:role\/reader$/m);
    assert.match(permitted.text, /what STS answers and what agents hold, only a running server knows$/m);
    const open = await run('team/app', api);
    assert.match(
      open.text,
      /^team\/app cannot be told: "reader" is a short name: its ARN depends on --role-base-arn$/m,
    );
    const contested = await run('team/other', api, base);
    assert.match(
      contested.text,
      /^team\/other gets nothing: 127\.1\.200\.1 is claimed by team\/one, team\/third as well/m,
    );
    const closed = await run('closed/app', api);
    assert.match(
      closed.text,
      /^closed\/app gets nothing: namespace policy expression '\(empty\)' forbids role 'reader'$/m,
    );
    const nobody = await run('team/nobody', api);
    assert.deepEqual(
      [nobody.code, nobody.text.split('\n')[0]],
      [1, 'team/nobody gets nothing: the API server knows no such pod'],
    );
    const stranger = join(cluster.world.folder, 'stranger.kubeconfig');
    await writeFile(stranger, cluster.world.api.identity('stranger', []));
    const refused = await run('team/app', `--kubeconfig=${stranger}`);
    assert.equal(refused.code, 1);
    assert.match(refused.text, /^kiam: the pod cannot be read: 403 pods "app" is forbidden: User "stranger"/);
  });

  it('kiam explain says how a server is asked where none runs', async () => {
    const { code, text } = await run('team/app', `--admin-socket=${join(cluster.world.folder, 'nobody.sock')}`);
    assert.deepEqual([code, text], [1, `kiam: no server answers at ${join(cluster.world.folder, 'nobody.sock')}`]);
  });

  it('kiam explain tells no secret', async () => {
    const pod = await cluster.world.pod({
      namespace: 'team',
      name: 'twin',
      role: 'reader',
      sessionName: 'mine',
      externalId: EXTERNAL_ID,
    });
    const { AccessKeyId = '', SecretAccessKey = '', Token = '' } = await credentialsOf(pod, 'reader');
    const { AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '' } = cluster.world.environment.user;
    await ask('team/app');
    const all = said.join('\n');
    assert.ok(all.length > 10_000);
    for (const secret of [AccessKeyId, SecretAccessKey, Token, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, EXTERNAL_ID]) {
      assert.ok(secret.length > 10);
      assert.ok(!all.includes(secret), `${secret.slice(0, 6)}...`);
    }
  });
});
