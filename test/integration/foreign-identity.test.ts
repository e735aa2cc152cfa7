import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { type Answer, askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

/** One character more than AWS accepts, and that one is two units of UTF-16: a cut at 1,225 units leaves half of it. */
const HALF = `${'x'.repeat(1224)}😀`;
const TENANTS = 5;
const VICTIMS = 30;

describe('pods whose annotations AWS does not accept, beside others, before an STS that takes the first of two parameters', () => {
  let cluster: Cluster;
  let server: Daemon;
  let agent: Daemon;
  const tenants: { readonly address: string }[] = [];

  before(async () => {
    cluster = await startCluster();
    cluster.world.sts.takeFirstOfTwo(true);
    cluster.world.namespace('team', '.*');
    server = await cluster.startServer();
    agent = await cluster.startAgent(server.port);
    for (let index = 0; index < TENANTS; index += 1) {
      const name = `tenant-${index}`;
      tenants.push(await cluster.world.pod({ namespace: 'team', name, role: name, externalId: HALF }));
    }
  });

  after(() => cluster.close());

  /** On a busy machine a request may not be answered in time, and is made again. */
  const credentialsOf = async (pod: { readonly address: string }, role: string) => {
    let answer: Answer | undefined;
    for (let attempt = 0; attempt < 10 && (answer === undefined || answer.body.includes('in time')); attempt += 1) {
      answer = await askHttp({ port: agent.port, from: pod.address, path: `${LISTING}${encodeURIComponent(role)}` });
    }
    return answer ?? assert.fail();
  };

  it('beside pods with invalid annotations each of the others gets its own role, and STS is asked for nobody else', async () => {
    const victims = await Promise.all(
      Array.from({ length: VICTIMS }, async (_, index) => {
        // The calls of the tenants precede theirs.
        void credentialsOf(tenants[index % TENANTS] ?? { address: '' }, `tenant-${index % TENANTS}`).catch(() => {});
        const name = `victim-${index}`;
        const pod = await cluster.world.pod({ namespace: 'team', name, role: name });
        return { name, answer: await credentialsOf(pod, name) };
      }),
    );
    for (const { name, answer } of victims) {
      assert.equal(answer.status, 200, `${name}: ${answer.body}`);
      const { AccessKeyId = '' } = JSON.parse(answer.body) as Record<string, string>;
      assert.equal(cluster.world.sts.identify(AccessKeyId)?.roleArn, `${cluster.world.roleBaseArn}${name}`);
    }
    // The server asks once who it is itself.
    const calls = cluster.world.sts.calls.list().filter(({ action }) => action !== 'GetCallerIdentity');
    assert.deepEqual(
      calls.filter(({ roleArn, outcome }) => outcome !== 'ok' || !roleArn.includes('role/victim-')),
      [],
    );
    assert.equal(calls.length, VICTIMS);
  });

  for (const [what, annotations, role, says] of [
    [
      'external id',
      { externalId: HALF },
      'reader',
      /iam.amazonaws.com\/external-id is not valid: .* 2 to 1224 letters/,
    ],
    ['short external id', { externalId: 'x' }, 'reader', /iam.amazonaws.com\/external-id is not valid/],
    ['role', {}, 'my role', /'my role' cannot be the name of a role: that has 1 to 64 letters, digits and/],
    ['account', {}, 'arn:aws:iam::1:role/reader', /'1' is no account of AWS: an account has 12 digits/],
  ] as const) {
    it(`a pod with an invalid ${what} is refused, and the log, its Event and explain say how to fix it`, async () => {
      const name = `bad-${what.replaceAll(' ', '-')}`;
      const pod = await cluster.world.pod({ namespace: 'team', name, role, ...annotations });
      const answer = await credentialsOf(pod, role);
      assert.deepEqual([answer.status, answer.body], [403, 'error fetching credentials: forbidden by policy\n']);
      const line = server.log().find((entry) => entry['msg'] === 'pod denied by policy' && entry['pod.name'] === name);
      assert.match(String(line?.['policy.explanation']), says);
      const event = (): string =>
        cluster.world.api
          .events()
          .map((object) => JSON.stringify(object))
          .find((text) => text.includes(`"${name}"`)) ?? '';
      await eventually('an Event on the pod', 5000, () => event() !== '');
      assert.match(event(), says);
      assert.doesNotMatch(event(), /xxxxx/);
      const explained = await cluster.run([
        'explain',
        `team/${name}`,
        `--kubeconfig=${cluster.world.kubeconfigs.server}`,
        `--role-base-arn=${cluster.world.roleBaseArn}`,
      ]);
      assert.match(explained.lines.join('\n'), says);
      assert.doesNotMatch(explained.lines.join('\n'), /xxxxx/);
    });
  }

  it('a session name that AWS does not accept is sent as Kiam sends it, and explain says so', async () => {
    const pod = await cluster.world.pod({ namespace: 'team', name: 'named', role: 'named', sessionName: 'my name/😀' });
    assert.equal((await credentialsOf(pod, 'named')).status, 200);
    assert.equal(cluster.world.sts.calls.list(`${cluster.world.roleBaseArn}named`)[0]?.sessionName, 'kiam-my-name--');
    const explained = await cluster.run([
      'explain',
      'team/named',
      `--kubeconfig=${cluster.world.kubeconfigs.server}`,
      `--role-base-arn=${cluster.world.roleBaseArn}`,
    ]);
    assert.match(explained.lines.join('\n'), /session +kiam-my-name-- instead of "kiam-my name\/.*at most 64 letters/);
  });
});
