import assert from 'node:assert/strict';
import test from 'node:test';

import { Counter, Histogram, Registry } from 'prom-client';

import { createHotCounter, createHotHistogram } from '#telemetry/hot-metrics.ts';

const BUCKETS = [0.001, 0.064, 4.096];

test('a hot histogram prints what prom-client prints for the same observations', async () => {
  const [hot, plain] = [new Registry(), new Registry()];
  const options = { name: 'seconds', help: 'Help.', labelNames: ['handler'], buckets: BUCKETS };
  const mine = createHotHistogram({ ...options, registry: hot });
  const theirs = new Histogram({ ...options, registers: [plain] });
  for (const [handler, value] of [
    ['a', 0.001],
    ['a', 0.0011],
    ['b', 5],
    ['a', 0],
    ['b', 4.096],
  ] as const) {
    mine.series({ handler }).observe(value);
    theirs.observe({ handler }, value);
  }
  const sorted = (text: string): string[] => text.split('\n').toSorted();
  assert.deepEqual(sorted(await hot.metrics()), sorted(await plain.metrics()));
  assert.deepEqual(await hot.getMetricsAsJSON().then((all) => all.length), 1);
});

test('a hot counter prints what prom-client prints, also when it is looked at twice', async () => {
  const [hot, plain] = [new Registry(), new Registry()];
  const options = { name: 'total', help: 'Help.', labelNames: ['handler', 'code'] as const };
  const mine = createHotCounter({ ...options, registry: hot });
  const theirs = new Counter({ ...options, labelNames: [...options.labelNames], registers: [plain] });
  for (let round = 0; round < 2; round += 1) {
    for (const labels of [
      { handler: 'a', code: '200' },
      { handler: 'a', code: '200' },
      { handler: 'b', code: '404' },
    ]) {
      mine.series(labels).inc();
      theirs.inc(labels);
    }
    assert.equal(await hot.metrics(), await plain.metrics());
    assert.equal(await hot.metrics(), await plain.metrics());
  }
});

test('the same labels are the same series, whatever their order', () => {
  const counter = createHotCounter({ name: 'x', help: 'x', labelNames: ['a', 'b'], registry: new Registry() });
  assert.equal(counter.series({ a: '1', b: '2' }), counter.series({ b: '2', a: '1' }));
  assert.notEqual(counter.series({ a: '1', b: '2' }), counter.series({ a: '2', b: '1' }));
});
