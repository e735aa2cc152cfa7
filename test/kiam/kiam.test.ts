import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import type { Child } from '#sandbox/child.ts';

import { type Compared, issuedBy, ourAnswer, recordedAnswer } from '../conformance/answers.ts';
import { beforeKiamServer } from '../conformance/before-kiam-server.ts';
import { DIFFERENCES } from '../conformance/differences.ts';
import { type RecordedCase, TRANSCRIPT } from '../conformance/recorded.ts';
import { startRecordedCluster } from '../conformance/recorded-cluster.ts';
import { type Answer, askHttp, type Cluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

import { startRealAgent, startRealServer, startStsProxy, withoutKiam } from './real-kiam.ts';

/** Kiam's agent knows the metadata service by its address alone, and asks it without a token. */
const METADATA = { addresses: { metadata: { host: '169.254.169.254', port: 80 } }, requireMetadataToken: false };

/** The daemons' ports in a network namespace that has nothing else in it. */
const SERVER_PORT = 9610;
const FIRST_AGENT_PORT = 8181;
const PLAIN = 'text/plain; charset=utf-8';
const NO_POD = 'error fetching credentials: no pod found\n';
/** The last of Kiam's tries may be cut by its own limit. */
const CUT = /^(?:error fetching credentials: )?rpc error: code = DeadlineExceeded desc = context deadline exceeded\n$/;
const CREDENTIALS = TRANSCRIPT.find(({ name }) => name === 'creds') ?? assert.fail('no credentials were recorded');
const SETTINGS = [...new Set(TRANSCRIPT.map((recorded) => recorded.setting ?? ''))];
const flagsOf = (setting: string): readonly string[] => (setting === '' ? [] : [`--${setting}`]);

/** Kiam's agent repeats every answer but one for 5 s, and then shows its code: Kiam's server sends none, ours says what happened. */
const REPEATED: Readonly<Record<string, string>> = {
  'list succeeded': 'rpc error: code = NotFound desc = pod not found\n',
  'list host network': 'rpc error: code = NotFound desc = pod not found\n',
  'creds no role': "error fetching credentials: rpc error: code = FailedPrecondition desc = role can't be empty\n",
  'creds succeeded': NO_POD,
  'creds unknown pod': NO_POD,
  'creds host network': NO_POD,
  'creds sts throttled':
    'error fetching credentials: rpc error: code = Unavailable desc = AWS STS throttles requests: Throttling\n',
  'creds sts error':
    'error fetching credentials: rpc error: code = Unavailable desc = AWS STS is not available: InternalFailure\n',
};

/** The metadata service answers these through Kiam's agent, and the sandbox's is another than the recorded one: the status tells. */
const PROXIED = new Set([
  'health',
  'health deep',
  'health from unknown',
  'token',
  'token ttl 0',
  'token ttl 21601',
  'token with body',
  'token odd version',
  'blocked encoded',
]);

describe('an agent of Kiam, the real one, before a server of ours', { skip: withoutKiam }, () => {
  let cluster: Cluster;
  const agents = new Map<string, { readonly port: number; readonly child: Child }>();

  before(async () => {
    cluster = await startRecordedCluster(undefined, METADATA);
    const server = await cluster.startServer({ flags: [`--bind=127.0.0.1:${SERVER_PORT}`] });
    for (const [index, setting] of SETTINGS.entries()) {
      const port = FIRST_AGENT_PORT + index;
      const child = await startRealAgent({ world: cluster.world, port }, server.port, flagsOf(setting));
      agents.set(setting, { port, child });
    }
  });
  after(async () => {
    await Promise.all([...agents.values()].map(({ child }) => child.stop('SIGKILL')));
    await cluster.close();
  });

  for (const recorded of TRANSCRIPT) {
    it(nameOf(recorded), async () => {
      const answer = ourAnswer(issuedBy(cluster.world), await ask(recorded, agents));
      const wanted = behindOurServer(recorded);
      const isCut = recorded.name in REPEATED && typeof answer.body === 'string' && CUT.test(answer.body);
      if (PROXIED.has(recorded.name)) assert.equal(answer.status, wanted.status);
      else assert.deepEqual(isCut ? { ...answer, body: wanted.body } : answer, wanted);
    });
  }
});

describe('an agent of ours before a server of Kiam, the real one', { skip: withoutKiam }, () => {
  let cluster: Cluster;
  const closers: (() => unknown)[] = [];
  const agents = new Map<string, { readonly port: number }>();

  before(async () => {
    cluster = await startRecordedCluster(undefined, { ...METADATA, stsOverHttps: true });
    const { world } = cluster;
    const { hostname, port } = new URL(world.sts.url);
    const proxy = await startStsProxy({ host: hostname, port: Number(port) });
    const server = await startRealServer({ world, port: SERVER_PORT }, proxy.port);
    closers.push(
      () => proxy.close(),
      () => server.stop('SIGKILL'),
    );
    for (const setting of SETTINGS)
      agents.set(setting, await cluster.startAgent(SERVER_PORT, { flags: flagsOf(setting) }));
    await eventually('Kiam has credentials', 15_000, async () => (await ask(CREDENTIALS, agents)).status === 200);
  });
  after(async () => {
    await cluster.close();
    await Promise.all(closers.map((close) => close()));
  });

  for (const recorded of TRANSCRIPT) {
    it(nameOf(recorded), async () => {
      const answer = await ask(recorded, agents);
      // Who is told to come again was waited for, as long as by Kiam.
      assert.ok(answer.tookMs < (answer.status === 503 ? 6000 : 1000), `it took ${Math.round(answer.tookMs)} ms`);
      assert.deepEqual(ourAnswer(issuedBy(cluster.world), answer), beforeKiamServer(recorded));
    });
  }
});

/** What Kiam's agent is to answer before our server: what it did, but for what the server does otherwise. */
function behindOurServer(recorded: RecordedCase): Compared {
  const answer = recordedAnswer(recorded);
  const text = REPEATED[recorded.name];
  if (text !== undefined) return { ...answer, status: 500, body: text, type: PLAIN };
  const server = DIFFERENCES.filter(({ of, applies }) => of === 'server' && applies(recorded));
  const wanted = server.reduce((before, difference) => difference.ours(before, recorded), answer);
  // The status for what policy denies is the agent's.
  return wanted.status === 403 ? { ...wanted, status: 500 } : wanted;
}

function nameOf({ name, setting = '' }: RecordedCase): string {
  return `answers ${name}${setting === '' ? '' : `, with --${setting}`}`;
}

function ask({ setting = '', request }: RecordedCase, agents: ReadonlyMap<string, { port: number }>): Promise<Answer> {
  const { from, method, path, headers = {}, body } = request;
  const port = agents.get(setting)?.port ?? 0;
  return askHttp({ port, from, method, path, headers, ...(body === undefined ? {} : { body }) });
}
