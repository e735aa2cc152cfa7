import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import { askHttp } from '../support/cluster.ts';
import { type Kube2iamAnswer, ourKube2iamAnswer, recordedKube2iamAnswer } from './answers.ts';
import { KUBE2IAM_DIFFERENCES, type Kube2iamDifference } from './differences.ts';
import { askInTime, type Kube2iamDaemon, type Kube2iamNode, putKube2iamFixtures, startKube2iamNode } from './node.ts';
import { KUBE2IAM_FIXTURES, KUBE2IAM_TRANSCRIPT, type Kube2iamCase } from './recorded.ts';

const used = new Set<Kube2iamDifference>();

/** What ours is to answer: what kube2iam did, but for the differences that apply. */
function expected(recorded: Kube2iamCase): Kube2iamAnswer {
  let wanted = recordedKube2iamAnswer(recorded);
  for (const difference of KUBE2IAM_DIFFERENCES.filter(({ applies }) => applies(recorded))) {
    const ours = difference.ours(wanted, recorded);
    if (JSON.stringify(ours) !== JSON.stringify(wanted)) used.add(difference);
    wanted = ours;
  }
  return wanted;
}

for (const [setting, flags] of Object.entries(KUBE2IAM_FIXTURES.settings)) {
  describe(`what kube2iam answered: ${setting}`, () => {
    let node: Kube2iamNode;
    let daemon: Kube2iamDaemon;

    before(async () => {
      node = await startKube2iamNode({ instance: { instanceId: 'i-0rig', roleName: 'node-role', userData: 'data' } });
      putKube2iamFixtures(node.world);
      daemon = await node.start(['--backoff-max-elapsed-time=700ms', ...flags]);
    });

    after(() => node.close());

    for (const recorded of KUBE2IAM_TRANSCRIPT.filter((row) => row.setting === setting)) {
      const { from, method, path, headers = {} } = recorded.request;
      it(`${recorded.name}: ${method} ${path.slice(0, 80)}`, async () => {
        const answer = await askInTime(() => askHttp({ port: daemon.port, from, method, path, headers }));
        assert.deepEqual(simplified(recorded, ourKube2iamAnswer(node.world, answer)), expected(recorded));
      });
    }
  });
}

/** What stands in the one world and not in the other is left out, or compared by what it is about. */
function simplified({ name }: Kube2iamCase, ours: Kube2iamAnswer): Kube2iamAnswer {
  // These two namespaces stand in our cluster alone.
  if (typeof ours.body !== 'string') return ours;
  if (name === 'debug store') {
    return { ...ours, body: ours.body.replaceAll(/"kube-(?:node-lease|public)":null,/g, '') };
  }
  if (name !== 'proxy iam info' || ours.status !== 200) return ours;
  const role = /"InstanceProfileArn":"arn:aws:iam::123456789012:instance-profile\/(\w+)"/.exec(ours.body)?.[1];
  return { ...ours, body: `info about the role ${role ?? 'of nobody'}` };
}

it('docs/migrating-from-kube2iam.md has a sentence for each difference', async () => {
  const page = await readFile(new URL('../../docs/migrating-from-kube2iam.md', import.meta.url), 'utf8');
  for (const { sentence } of KUBE2IAM_DIFFERENCES) assert.ok(page.includes(`- ${sentence}\n`), sentence);
});

it('every difference from kube2iam is one that shows', (t) => {
  t.diagnostic(`${KUBE2IAM_TRANSCRIPT.length} cases, ${KUBE2IAM_DIFFERENCES.length} deliberate differences`);
  const idle = KUBE2IAM_DIFFERENCES.filter((difference) => !used.has(difference)).map(({ sentence }) => sentence);
  assert.deepEqual(idle, []);
});
