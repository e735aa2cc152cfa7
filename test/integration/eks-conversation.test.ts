import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { type Cluster, startCluster } from '../support/cluster.ts';
import { CONVERSATION, type Heard, type Line, say, type TokenKind } from '../support/eks-conversation.ts';
import { ASKS_EKS, differenceRows, EKS_DIFFERENCES } from '../support/eks-differences.ts';
import { eventually } from '../support/eventually.ts';
import { DISCOVERY, podToken } from '../support/pod-token.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

interface Recording {
  readonly agent: string;
  readonly answers: readonly ({ readonly what: string } & Heard)[];
}

const text = (path: string): Promise<string> => readFile(new URL(`../../${path}`, import.meta.url), 'utf8');
const recording: Recording = JSON.parse(await text('test/support/eks-agent-answers.json'));

/** In the recording EKS gives these credentials to every token. */
const asksEks = ({ body }: Heard): boolean => body.includes('"AccessKeyId":"ASIAEXAMPLE"');

describe('the conversation with the agent of EKS', () => {
  let cluster: Cluster;
  let port: number;
  let pod: WorldPod;
  let tokens: Readonly<Record<string, string>>;
  const hear = (line: Line): Promise<Heard> =>
    say(line, { port, from: pod.address, tokenOf: (kind: TokenKind) => tokens[kind] ?? assert.fail(kind) });

  before(async () => {
    cluster = await startCluster({ serverRules: [...SERVER_RULES, DISCOVERY] });
    const { world } = cluster;
    world.namespace('team', '.*');
    const server = await cluster.startServer({ flags: ['--container-credentials'] });
    const flags = ['--container-credentials', '--container-credentials-port=0'];
    const agent = await cluster.startAgent(server.port, { flags });
    port = Number(/:(\d+)"/.exec(await agent.child.line(/"msg":"container credentials: listening"/))?.[1]);
    pod = await world.pod({ namespace: 'team', name: 'app', nodeName: 'node-1', role: 'reader' });
    const good = podToken(world, pod);
    const [, claims = ''] = good.split('.');
    tokens = {
      good,
      expired: podToken(world, pod, { livesSeconds: -60 }),
      early: podToken(world, pod, { startsInSeconds: 3600 }),
      'other-audience': podToken(world, pod, { audience: 'sts.amazonaws.com' }),
      tampered: `${good.slice(0, -8)}AAAAAAAA`,
      unsigned: `${Buffer.from('{"alg":"none"}').toString('base64url')}.${claims}.`,
    };
    await eventually('there are credentials', 20_000, async () => (await hear({ what: 'good' })).status === 200);
  });
  after(() => cluster?.close());

  it('is recorded whole', () => {
    assert.deepEqual(
      recording.answers.map(({ what }) => what),
      CONVERSATION.map(({ what }) => what),
    );
  });

  for (const [index, line] of CONVERSATION.entries()) {
    const difference = EKS_DIFFERENCES.find(({ lines }) => lines.includes(line.what));
    it(`${line.what} is answered ${difference === undefined ? 'as there' : String(difference.here)}`, async () => {
      const theirs = recording.answers[index] ?? assert.fail(line.what);
      const ours = await hear(line);
      assert.equal(ours.status, difference?.here ?? theirs.status, ours.body);
      if (difference !== undefined) {
        assert.notEqual(ours.status, theirs.status, 'a difference that is none');
        assert.equal(asksEks(theirs) ? ASKS_EKS : String(theirs.status), difference.theirs);
      }
      if (ours.status === theirs.status) assert.equal(ours.contentType, theirs.contentType);
      if (ours.status !== 200) return assert.match(ours.body, /^[^\n]+\n$/);
      if (line.method === 'HEAD') return assert.equal(ours.body, '');
      const keys = Object.keys(JSON.parse(ours.body));
      assert.deepEqual(keys, ['AccessKeyId', 'SecretAccessKey', 'Token', 'AccountId', 'Expiration']);
      if (asksEks(theirs)) assert.deepEqual(Object.keys(JSON.parse(theirs.body)), keys);
    });
  }

  it('differs as the documentation says, and in nothing else', async () => {
    const page = await text('docs/container-credentials.md');
    const rows = page.split('\n').filter((row) => / \| (?:\d{3}|asks EKS) \| \d{3} \| /.test(row));
    assert.deepEqual(rows, differenceRows());
  });
});
