import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Registry } from 'prom-client';
import { ListWatch } from '#kubernetes/list-watch.ts';
import { createKubernetesMetrics } from '#kubernetes/metrics.ts';
import { PodCache } from '#kubernetes/pod-cache.ts';
import { createPodParser } from '#kubernetes/pod-record.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { listOf, scriptedApi, type CallKind, type OpenBody, type ScriptedApi } from '../../support/scripted-api.ts';
import { until } from '../../support/until.ts';
import { podObject } from './objects.ts';

interface LoggedEvent {
  readonly version: number;
  readonly line: string;
}

/** A cluster's truth, the log of how it came about, and the watch through which it is told. */
class Cluster {
  readonly truth = new Map<string, { uid: string; role: string; object: unknown }>();
  readonly log: LoggedEvent[] = [];
  body: OpenBody | undefined;
  #version = 100;

  /** `garble` says what the watch makes of a line on its way. */
  change(slot: number, kind: 'set' | 'delete' | 'recreate', garble: (line: string) => string): void {
    const name = `pod-${slot}`;
    const held = this.truth.get(name);
    if (held !== undefined && kind !== 'set') this.#emit('DELETED', name, held.uid, garble);
    if (kind !== 'delete') this.#emit('MODIFIED', name, kind === 'recreate' ? undefined : held?.uid, garble);
  }

  #emit(type: string, name: string, knownUid: string | undefined, garble: (line: string) => string): void {
    this.#version += 1;
    const uid = knownUid ?? `uid-${this.#version}`;
    const role = `role-${this.#version}`;
    const object = podObject({ name, uid, role, version: this.#version, ip: '192.0.2.1' });
    if (type === 'DELETED') this.truth.delete(name);
    else this.truth.set(name, { uid, role, object });
    const line = `${JSON.stringify({ type, object })}\n`;
    this.log.push({ version: this.#version, line });
    this.body?.write(garble(line));
  }

  /** Answers a list or a watch as an API server would. */
  async answer(api: ScriptedApi, kind: CallKind): Promise<void> {
    const call = await api.next(kind);
    if (kind === 'list') {
      const items = [...this.truth.values()].map(({ object }) => object);
      call.answer(200, listOf(String(this.#version), items));
      return;
    }
    const from = Number(call.request.query?.['resourceVersion']);
    const body = call.open();
    for (const { version, line } of this.log) if (version > from) body.write(line);
    this.body = body;
  }

  harm(fault: Fault, pick: number): void {
    const { body } = this;
    if (body === undefined || body.closed) return;
    const line = this.log[pick % Math.max(1, this.log.length)]?.line ?? '\n';
    if (fault === 'replay') body.write(line);
    else if (fault === 'garbage') body.write('\u0000garbage\n');
    else if (fault === 'cut') {
      body.write(line.slice(0, 20));
      body.break(new Error('ECONNRESET'));
    } else if (fault === 'expire') body.event('ERROR', { kind: 'Status', code: 410, message: 'too old' });
    else if (fault === 'end') body.end();
  }
}

const FAULTS = ['replay', 'replay', 'replay', 'garbage', 'cut', 'expire', 'end', 'silence'] as const;
type Fault = (typeof FAULTS)[number];

const GARBLES = {
  whole: (line: string) => line,
  torn: (line: string) => `${line.slice(0, line.length / 2)}\n`,
  twice: (line: string) => line + line,
} as const;

const change = fc.record({
  change: fc.constantFrom('set', 'set', 'delete', 'recreate'),
  slot: fc.nat(3),
  garble: fc.constantFrom('whole', 'whole', 'whole', 'whole', 'torn', 'twice'),
});
const fault = fc.record({ fault: fc.constantFrom(...FAULTS), pick: fc.nat(50) });
const steps = fc.array(fc.oneof({ weight: 3, arbitrary: change }, { weight: 2, arbitrary: fault }), {
  minLength: 1,
  maxLength: 40,
  size: 'max',
});
type Steps = typeof steps extends fc.Arbitrary<infer T> ? T : never;

test('Whatever happens to the stream, the cache ends up with what the cluster holds.', async () => {
  await fc.assert(fc.asyncProperty(steps, live), { numRuns: 60 });
});

async function live(plan: Steps): Promise<void> {
  const clock = new ManualClock();
  const api = scriptedApi(clock);
  const { logger } = recordingLogger();
  const controller = new AbortController();
  const { signal } = controller;
  const cache = new PodCache({ logger });
  const cluster = new Cluster();
  const watch = new ListWatch({
    resource: { name: 'pods', path: '/api/v1/pods', parse: createPodParser() },
    target: cache,
    connection: api,
    clock,
    logger,
    metrics: createKubernetesMetrics(new Registry()),
    signal,
  });
  const running = Promise.all([watch.run(), serve(cluster, api, 'list', signal), serve(cluster, api, 'watch', signal)]);
  try {
    await until(() => cluster.body !== undefined, 'the first watch');
    for (const step of plan) {
      if ('change' in step) cluster.change(step.slot, step.change, GARBLES[step.garble]);
      else if (step.fault === 'silence') await clock.advance(10_000);
      else cluster.harm(step.fault, step.pick);
      // Often the loop has no time to recover before the next step comes.
      if ('fault' in step && step.pick % 2 === 0) await clock.advance(400);
    }
    await clock.advance(30_000);
    const held = [...cache.pods()].map(({ name, uid, role }) => ({ name, uid, role }));
    const truth = [...cluster.truth].map(([name, { uid, role }]) => ({ name, uid, role }));
    assert.deepEqual(held.sort(byName), truth.sort(byName));
  } finally {
    controller.abort();
    await running;
  }
}

function byName(left: { name: string }, right: { name: string }): number {
  return left.name.localeCompare(right.name);
}

async function serve(cluster: Cluster, api: ScriptedApi, kind: CallKind, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    if (api.isWaiting(kind)) await cluster.answer(api, kind);
    else {
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
    }
  }
}
