import assert from 'node:assert/strict';
import { it } from 'node:test';

import { createServerMetrics } from '#server/metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

it('Calls of agents that are held to no node are counted for 100 addresses, and for all others together.', async () => {
  const registry = createRegistry({ processMetrics: false });
  const { countUnproven } = createServerMetrics(registry, () => 0);
  for (let index = 0; index < 5000; index += 1) countUnproven(`2001:db8::${index.toString(16)}`);
  const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith('kiam_server_unproven_agent'));
  assert.equal(lines.length, 101);
  assert.equal(lines.at(-1), 'kiam_server_unproven_agent_calls_total{address="other"} 4900');
});
