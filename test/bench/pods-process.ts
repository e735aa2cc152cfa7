// The Kubernetes part of the server alone, in a process of its own: what it keeps of each pod, and how long it holds up the
// event loop. Argument: a kubeconfig. Reports when it has listed, and then whenever it gets a message.
import { monitorEventLoopDelay } from 'node:perf_hooks';

import { Registry } from 'prom-client';

import { createConnection } from '#kubernetes/connection.ts';
import { startKubernetes } from '#kubernetes/kubernetes.ts';
import { createKubernetesMetrics } from '#kubernetes/metrics.ts';
import { systemClock } from '#runtime/clock.ts';

import type { PodsFigures } from './messages.ts';

const [kubeconfig = ''] = process.argv.slice(2);
const ignore = (): void => {};
const delay = monitorEventLoopDelay({ resolution: 1 });

async function heapKiB(): Promise<number> {
  for (let turn = 0; turn < 3; turn += 1) {
    globalThis.gc?.();
    await pauseMs(20);
  }
  return process.memoryUsage().heapUsed / 1024;
}

function pauseMs(durationMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, durationMs);
  });
}

delay.enable();
await pauseMs(100);
delay.reset();
const startedMs = performance.now();
const kubernetes = startKubernetes({
  connection: createConnection({ kubeconfig, clock: systemClock, environment: {} }),
  clock: systemClock,
  logger: { debug: ignore, info: ignore, warn: ignore, error: ignore },
  metrics: createKubernetesMetrics(new Registry()),
  signal: new AbortController().signal,
  binding: 'both',
  syncMs: 60_000,
});
let changes = 0;
kubernetes.pods.subscribe(() => {
  changes += 1;
});
await kubernetes.ready;
await report();
process.on('message', () => void report());

/** The figures since the last report; reading the heap stalls the loop, so that comes after them. */
async function report(): Promise<void> {
  const figures: PodsFigures = {
    pods: [...kubernetes.pods.pods()].length,
    changes,
    tookMs: performance.now() - startedMs,
    stallMs: delay.max / 1e6,
    stallP99Ms: delay.percentile(99) / 1e6,
    heapKiB: await heapKiB(),
  };
  changes = 0;
  delay.reset();
  process.send?.(figures);
}
