import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { askHttp, type Cluster, type Daemon } from '../support/cluster.ts';

import { ourAnswer, recordedIdentity } from './answers.ts';
import { beforeKiamServer } from './before-kiam-server.ts';
import { type KiamServer, startKiamServer } from './kiam-server.ts';
import { TRANSCRIPT } from './recorded.ts';
import { startRecordedCluster } from './recorded-cluster.ts';

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
    it(`an agent of ours before a server of Kiam answers ${name}${setting === '' ? '' : `, with --${setting}`}`, async () => {
      const { from, method, path, headers = {}, body } = request;
      const port = agents.get(setting)?.port ?? 0;
      const answer = await askHttp({ port, from, method, path, headers, ...(body === undefined ? {} : { body }) });
      // Who is told to come again was waited for, as long as by Kiam.
      assert.ok(answer.tookMs < (answer.status === 503 ? 6000 : 1000), `it took ${Math.round(answer.tookMs)} ms`);
      assert.deepEqual(ourAnswer(recordedIdentity, answer), beforeKiamServer(recorded));
    });
  }

  it('an agent of ours before a server of Kiam is ready, and asks what policy denies once', async () => {
    assert.equal((await agents.get('')?.readiness())?.status, 200);
    assert.equal(kiam.asked.get('GetPodCredentials 127.0.1.4 reader'), 1);
  });

  it('an agent of ours before a server of Kiam says once that it asks this server for each request', () => {
    const lines = agents
      .get('')
      ?.log()
      .filter(({ msg }) => String(msg).includes('no stream for this node'));
    assert.equal(lines?.length, 1);
  });
});
