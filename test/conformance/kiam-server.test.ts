import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { askHttp, type Cluster, type Daemon } from '../support/cluster.ts';

import { type Compared, ourAnswer, recordedAnswer, recordedIdentity } from './answers.ts';
import { DIFFERENCES } from './differences.ts';
import { type KiamServer, startKiamServer } from './kiam-server.ts';
import { type RecordedCase, TRANSCRIPT } from './recorded.ts';
import { startRecordedCluster } from './recorded-cluster.ts';

/** What our agent cannot know from Kiam's server as it does from ours, and says instead. */
const FROM_KIAM: Readonly<Record<string, Partial<Compared>>> = {
  // The text of STS may name the role of the server: its code alone goes further.
  'creds sts error': { body: 'error fetching credentials: InternalFailure\n' },
  'creds sts throttled': { body: 'error fetching credentials: no server answered in time\n' },
  // Kiam's server tells the name as annotated, not the ARN.
  'blocked iam info': { status: 404, type: 'text/plain; charset=utf-8', body: "the role's ARN is not known\n" },
  // Kiam's server does not tell which pod has an address, and a token that is bound to the address alone lives a minute.
  token: { tokenTtl: '60' },
  'token with body': { tokenTtl: '60' },
  'token odd version': { tokenTtl: '60' },
  // Kiam's server says how long its sessions last.
  'creds trailing slash': { body: keysOf('creds') },
  'creds path leading': { body: keysOf('creds path leading, asked plain') },
};

describe('an agent of ours before a server of Kiam', () => {
  let cluster: Cluster;
  let kiam: KiamServer;
  const agents = new Map<string, Daemon>();

  before(async () => {
    cluster = await startRecordedCluster();
    kiam = await startKiamServer(cluster.world);
    for (const setting of new Set(TRANSCRIPT.map((recorded) => recorded.setting ?? ''))) {
      agents.set(setting, await cluster.startAgent(kiam.port, { flags: setting === '' ? [] : [`--${setting}`] }));
    }
  });

  after(async () => {
    kiam.close();
    await cluster.close();
  });

  for (const recorded of TRANSCRIPT) {
    const { name, setting = '', request } = recorded;
    it(`answers ${name}${setting === '' ? '' : `, with --${setting}`}`, async () => {
      const { from, method, path, headers = {}, body } = request;
      const port = agents.get(setting)?.port ?? 0;
      const answer = await askHttp({ port, from, method, path, headers, ...(body === undefined ? {} : { body }) });
      assert.ok(answer.tookMs < 1000, `it took ${Math.round(answer.tookMs)} ms`);
      assert.deepEqual(ourAnswer(recordedIdentity, answer), expected(recorded));
    });
  }

  it('is ready, and asks what policy denies once', async () => {
    assert.equal((await agents.get('')?.readiness())?.status, 200);
    assert.equal(kiam.asked.get('GetPodCredentials 127.0.1.4 reader'), 1);
  });

  it('says once that it asks this server for each request', () => {
    const lines = agents
      .get('')
      ?.log()
      .filter(({ msg }) => String(msg).includes('no stream for this node'));
    assert.equal(lines?.length, 1);
  });
});

/** What Kiam's agent answered, but for what our agent does otherwise. */
function expected(recorded: RecordedCase): Compared {
  const ours = DIFFERENCES.filter(({ of, applies }) => of === 'agent' && applies(recorded));
  const answer = ours.reduce((wanted, difference) => difference.ours(wanted, recorded), recordedAnswer(recorded));
  return { ...answer, ...FROM_KIAM[recorded.name] };
}

function keysOf(name: string): Compared['body'] {
  const found = TRANSCRIPT.find((recorded) => recorded.name === name);
  return found === undefined ? '' : recordedAnswer(found).body;
}
