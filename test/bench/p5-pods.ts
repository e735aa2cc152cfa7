import { once } from 'node:events';

import type { Child } from '#sandbox/child.ts';

import { putManyPods, putManyServiceAccounts, putNamespaces } from './many-pods.ts';
import type { PodsFigures } from './messages.ts';
import { type Daemon, openPlace, pause, type Place } from './place.ts';
import { type Figure, fixed } from './report.ts';
import type { Setting } from './setting.ts';

const PODS = 10_000;
const ROLES = 200;
const SERVICE_ACCOUNTS = 10_000;

/** Long enough for a burst to be over. */
const SETTLE_MS = 2500;

/** P5: what is kept of a pod, and how long the event loop is held up by many of them. */
export async function measurePods({ bundles }: Setting): Promise<Figure> {
  const place = await openPlace(bundles);
  try {
    const bare = await place.startServer();
    await pause(1000);
    const startLagMs = await longestLagMs(bare);
    await bare.stop();
    putNamespaces(place.world);
    const watching = place.startPods();
    const bareView = await nextFigures(watching);
    putManyServiceAccounts(place.world, SERVICE_ACCOUNTS, 1);
    const accounts = await figuresAfter(watching, 0);
    putManyServiceAccounts(place.world, SERVICE_ACCOUNTS, 2);
    const empty = await figuresAfter(watching, 0);
    putManyPods(place.world, { count: PODS, roles: ROLES, generation: 1 });
    const added = await figuresAfter(watching, PODS);
    const listing = place.startPods();
    const listed = await nextFigures(listing);
    putManyPods(place.world, { count: PODS, roles: ROLES, generation: 2 });
    const changed = await figuresAfter(listing, PODS);
    await Promise.all([watching.stop('SIGKILL'), listing.stop('SIGKILL')]);
    const server = await wholeServer(place);
    const bytesPerAccount = ((accounts.heapKiB - bareView.heapKiB) * 1024) / SERVICE_ACCOUNTS;
    const bytesPerPod = ((added.heapKiB - empty.heapKiB) * 1024) / PODS;
    const stall = (figures: PodsFigures): string =>
      `longest ${fixed(figures.stallMs)} ms, p99 ${fixed(figures.stallP99Ms, 1)} ms`;
    return {
      name: 'p5',
      title: `${fixed(PODS)} pods: memory of each, and stalls of the event loop`,
      method: [
        'src/kubernetes alone in a process of its own, against the stand-in API in another, under the options of Node of the bundles',
        `memory: the heap after collections of garbage, with ${fixed(PODS)} pods and before; ${ROLES} roles, 100 namespaces, names and UIDs all different`,
        'stalls by perf_hooks.monitorEventLoopDelay with 1 ms resolution: a pause of the machine counts too',
        'whole server: its own metric nodejs_eventloop_lag_max_seconds, which includes its interval of 10 ms',
      ],
      rows: [
        { figure: 'memory kept of a pod', value: `${fixed(bytesPerPod)} bytes`, target: '<= 1 KiB' },
        {
          figure: `list of ${fixed(PODS)}`,
          value: `${stall(listed)}; took ${fixed(listed.tookMs)} ms`,
          target: '<= 100 ms',
        },
        { figure: `${fixed(PODS)} added at once`, value: stall(added), target: '<= 100 ms' },
        { figure: `${fixed(PODS)} changed at once`, value: stall(changed), target: '<= 100 ms' },
        { figure: 'memory kept of a ServiceAccount', value: `${fixed(bytesPerAccount)} bytes`, target: '<= 1 KiB' },
        {
          figure: `${fixed(SERVICE_ACCOUNTS)} ServiceAccounts added at once`,
          value: stall(accounts),
          target: '<= 100 ms',
        },
        {
          figure: `${fixed(SERVICE_ACCOUNTS)} ServiceAccounts changed at once`,
          value: stall(empty),
          target: '<= 100 ms',
        },
        {
          figure: 'whole server, start in an empty cluster',
          value: `longest ${fixed(startLagMs)} ms`,
        },
        {
          figure: 'whole server, start, list and prefetch',
          value: `longest ${fixed(server.listLagMs)} ms`,
          target: '<= 100 ms',
        },
        {
          figure: 'whole server, all changed at once',
          value: `longest ${fixed(server.changeLagMs)} ms`,
          target: '<= 100 ms',
        },
      ],
      data: { bytesPerAccount, bytesPerPod, startLagMs, bareView, accounts, empty, added, listed, changed, server },
    };
  } finally {
    await place.close();
  }
}

async function nextFigures(child: Child): Promise<PodsFigures> {
  const [figures] = (await once(child.process, 'message', { signal: AbortSignal.timeout(30_000) })) as [PodsFigures];
  return figures;
}

/** Asks only once the burst is over: reading the figures early would split it. */
async function figuresAfter(child: Child, changes: number): Promise<PodsFigures> {
  await pause(SETTLE_MS);
  child.process.send({});
  const figures = await nextFigures(child);
  if (figures.changes < changes) throw new Error(`${figures.changes} of ${changes} changes arrived in time`);
  return figures;
}

async function wholeServer(place: Place): Promise<{ listLagMs: number; changeLagMs: number }> {
  const server = await place.startServer();
  await pause(1000);
  const listLagMs = await longestLagMs(server);
  putManyPods(place.world, { count: PODS, roles: ROLES, generation: 3 });
  await pause(SETTLE_MS);
  return { listLagMs, changeLagMs: await longestLagMs(server) };
}

/** Since it was read before. */
async function longestLagMs({ metricsPort }: Daemon): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  const seconds = /^nodejs_eventloop_lag_max_seconds ([\d.e+-]+)$/m.exec(await answer.text())?.[1];
  return Number(seconds) * 1000;
}
