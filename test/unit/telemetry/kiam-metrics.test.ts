import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { createGrpcMetrics, createTlsMetrics, grpcCodeName } from '#telemetry/grpc-metrics.ts';
import { createKubernetesKiamMetrics, createMetadataMetrics, createStsMetrics } from '#telemetry/kiam-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

interface RecordedMetric {
  readonly daemon: 'agent' | 'server';
  readonly name: string;
  readonly type: string;
  readonly labels: Readonly<Record<string, readonly string[]>>;
  readonly buckets?: readonly string[];
}

/** What the real Kiam's daemons were recorded to expose. */
const RECORDED: readonly RecordedMetric[] = JSON.parse(
  readFileSync(new URL('../../conformance/recorded/metrics.json', import.meta.url), 'utf8'),
);

interface Exposed {
  readonly type: string;
  readonly labels: Set<string>;
  readonly buckets: string[];
}

/** Reads the text form as a scraper does. */
async function exposed(registry: Registry): Promise<Map<string, Exposed>> {
  const metrics = new Map<string, Exposed>();
  for (const line of (await registry.metrics()).split('\n')) {
    const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (name !== undefined && type !== undefined) metrics.set(name, { type, labels: new Set(), buckets: [] });
    const [, sample, labels = ''] = /^([A-Za-z_]+)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    const metric = metrics.get(sample ?? '') ?? metrics.get(sample?.replace(/_(bucket|sum|count)$/, '') ?? '');
    for (const [, label, value] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      if (label === 'le') metric?.buckets.push(value ?? '');
      else if (label !== undefined) metric?.labels.add(label);
    }
  }
  return metrics;
}

/** Everything that a daemon makes, each metric with labels used once. */
function daemonRegistry(daemon: 'agent' | 'server'): Registry {
  const registry = createRegistry({ processMetrics: false });
  const metadata = createMetadataMetrics(registry);
  createStsMetrics(registry);
  createKubernetesKiamMetrics(registry);
  const side = daemon === 'agent' ? 'client' : 'server';
  const grpc = createGrpcMetrics(registry, side);
  createTlsMetrics(registry, side);
  if (daemon === 'server') return useGrpc(registry, grpc);
  const handler = 'credentials';
  metadata.handlerLatency.series({ handler }).observe(0.003);
  metadata.credentialFetchErrors.inc({ handler });
  metadata.findRoleErrors.inc({ handler });
  metadata.emptyRole.inc({ handler });
  metadata.success.series({ handler }).inc();
  metadata.responses.series({ handler, code: '200' }).inc();
  return useGrpc(registry, grpc);
}

function useGrpc(registry: Registry, grpc: ReturnType<typeof createGrpcMetrics>): Registry {
  const labels = { grpc_type: 'unary', grpc_service: 'kiam.KiamService', grpc_method: 'GetHealth' };
  grpc.started.inc(labels);
  grpc.messagesReceived.inc(labels);
  grpc.messagesSent.inc(labels);
  grpc.handled.inc({ ...labels, grpc_code: grpcCodeName(0) });
  return registry;
}

for (const recorded of RECORDED) {
  test(`The ${recorded.daemon} exposes ${recorded.name} as Kiam does`, async () => {
    const metric = (await exposed(daemonRegistry(recorded.daemon))).get(recorded.name);
    assert.ok(metric !== undefined, 'it is not exposed');
    assert.equal(metric.type, recorded.type);
    assert.deepEqual([...metric.labels].sort(), Object.keys(recorded.labels).sort());
    assert.deepEqual(metric.buckets, recorded.buckets ?? []);
  });
}

test('Beside the recorded metrics there is only the one that a failing encoder would have shown', async () => {
  for (const daemon of ['agent', 'server'] as const) {
    const known = new Set(RECORDED.map(({ name }) => name)).add('kiam_metadata_credential_encode_errors_total');
    for (const name of (await exposed(daemonRegistry(daemon))).keys()) assert.ok(known.has(name), name);
  }
});

test('Status codes have the names that Go gives them, and unknown ones cannot add a label value', () => {
  const recorded = RECORDED.flatMap(({ labels }) => labels['grpc_code'] ?? []);
  const names = Array.from({ length: 17 }, (_, code) => grpcCodeName(code));
  for (const name of recorded) assert.ok(names.includes(name), name);
  assert.deepEqual([0, 1, 4, 7, 16].map(grpcCodeName), [
    'OK',
    'Canceled',
    'DeadlineExceeded',
    'PermissionDenied',
    'Unauthenticated',
  ]);
  assert.deepEqual([-1, 17, 1.5, Number.NaN].map(grpcCodeName), ['Unknown', 'Unknown', 'Unknown', 'Unknown']);
});

test('Process metrics have the names that Go programs give them', async () => {
  const metrics = await exposed(createRegistry({ processMetrics: true }));
  const names = ['process_cpu_seconds_total', 'process_resident_memory_bytes', 'process_open_fds', 'process_max_fds'];
  for (const name of [...names, 'process_start_time_seconds']) assert.ok(metrics.has(name), name);
});

test("Process metrics are prom-client's default ones without the one that slows every request down", async () => {
  const usual = new Registry();
  collectDefaultMetrics({ register: usual });
  const names = new Set(usual.getMetricsAsArray().map(({ name }) => name));
  assert.ok(names.delete('nodejs_gc_duration_seconds'));
  const registered = createRegistry({ processMetrics: true }).getMetricsAsArray();
  assert.deepEqual(new Set(registered.map(({ name }) => name)), names);
});
