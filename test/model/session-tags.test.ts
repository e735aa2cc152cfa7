import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Model, type ModelResult } from './hand-overs.ts';

/** `KIAM_TAGGED_HAND_OVERS=100000` asks for more. A seed that fails is repeated by putting it first here. */
const HAND_OVERS = Number(process.env['KIAM_TAGGED_HAND_OVERS'] ?? '400');
const MODES = ['workload', 'pod'] as const;
const IN_ONE_WORLD = 100;
const WORLDS = Math.ceil(HAND_OVERS / MODES.length / 2 / IN_ONE_WORLD);

// Pods of four roles and three ServiceAccounts pass addresses to each other, before late watches, cut streams, replaced servers and
// outages. Calls of AssumeRole go through the gateway and the SDK's client to the sandbox's STS, which keeps what each carried.
describe('addresses that pass from pod to pod, with sessions that have tags', () => {
  for (const tags of MODES) {
    for (const hasEvidence of [true, false]) {
      it(`each pod is given sessions with its own tags, --session-tags=${tags}, ${hasEvidence ? 'with' : 'without'} evidence of the kernel`, async (t) => {
        const results: ModelResult[] = [];
        for (let seed = 1; seed <= WORLDS; seed += 1) {
          const result = await new Model({ seed, hasEvidence, tags, handOvers: IN_ONE_WORLD }).run();
          results.push(result);
          assert.deepEqual(result.wrong.slice(0, 3), [], `seed ${seed}`);
          assert.ok(result.compared > IN_ONE_WORLD && result.calls > 0, `seed ${seed}: ${result.compared} compared`);
        }
        const sum = (of: (result: ModelResult) => number): number =>
          results.reduce((total, result) => total + of(result), 0);
        t.diagnostic(
          `seeds 1 to ${WORLDS}: ${sum(({ handOvers }) => handOvers)} hand-overs, ${sum(({ calls }) => calls)} calls, ${sum(({ compared }) => compared)} sessions compared, ${sum(({ wrong }) => wrong.length)} with tags of another`,
        );
      });
    }
  }

  it('the model notices sessions with the tags of another pod', async () => {
    const sabotage = 'STS is asked for the first pod of a role';
    const { wrong } = await new Model({ seed: 1, hasEvidence: true, tags: 'pod', handOvers: 30, sabotage }).run();
    assert.ok(wrong.some((line) => line.includes('kubernetes-pod-uid')));
  });
});
