import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import { createCredentialCacheMetrics, createServerCredentialsMetric } from '#aws/metrics.ts';
import { createStsMetrics } from '#telemetry/kiam-metrics.ts';
import { askPatiently, cacheWorld, role } from './cache-world.ts';

test('the metrics of Kiam and our own say what the cache does', async () => {
  const registry = new Registry();
  const kiamMetrics = createStsMetrics(registry);
  const metrics = createCredentialCacheMetrics(registry);
  createServerCredentialsMetric(registry).set(1800);
  using world = cacheWorld({ kiamMetrics, metrics });
  world.sts.behave = ({ roleArn }) => (roleArn.endsWith('denied') ? 'denied' : 'well');
  await askPatiently(world, role('a'));
  await askPatiently(world, role('a'));
  await askPatiently(world, role('denied'));
  await world.clock.advance(31 * 60_000);
  await askPatiently(world, role('a'));

  const text = await registry.metrics();
  const expected = [
    'kiam_sts_cacheSize 1',
    'kiam_sts_cache_hit_total 4',
    'kiam_sts_cache_miss_total 4',
    'kiam_sts_issuing_errors_total 1',
    'kiam_sts_assumerole_current 0',
    'kiam_sts_assumerole_timing_seconds_count 3',
    'kiam_sts_calls_total{outcome="success",reason=""} 2',
    'kiam_sts_calls_total{outcome="failure",reason="denied"} 1',
    'kiam_sts_refreshes_total{outcome="renewed"} 1',
    'kiam_sts_entries{state="fresh"} 1',
    'kiam_sts_entries{state="failed"} 1',
    'kiam_sts_served_remaining_seconds_count 3',
    'kiam_sts_wait_seconds_count 2',
    'kiam_sts_calls_waiting 0',
    'kiam_sts_paused 0',
    'kiam_sts_server_credentials_seconds 1800',
  ];
  for (const line of expected) assert.ok(text.split('\n').includes(line), `${line} is missing from:\n${text}`);
});

test('the life left in credentials that do not expire is not 0, for which an alert fires', async () => {
  const registry = new Registry();
  createServerCredentialsMetric(registry);
  assert.match(await registry.metrics(), /^kiam_sts_server_credentials_seconds Nan$/m);
});
