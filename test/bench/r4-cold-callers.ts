import { LISTING, openPlace, pause } from './place.ts';
import { type Figure, fixed, statusText } from './report.ts';
import type { Setting } from './setting.ts';

const STS_MS = 200;
const HELD_MS = 200;
const ROLE = 'cold';

/** Crowds of pods that nobody knows, one after another; the first is the first to ask for the role. */
const CROWDS = [
  { pods: 100, callersPerPod: 10 },
  { pods: 100, callersPerPod: 10 },
  { pods: 100, callersPerPod: 1 },
  { pods: 250, callersPerPod: 1 },
  { pods: 500, callersPerPod: 1 },
  { pods: 1000, callersPerPod: 1 },
] as const;

const SETTINGS = [
  { what: 'told of its pods', flags: [], crowds: CROWDS },
  { what: '--node-store=false', flags: ['--node-store=false'], crowds: CROWDS },
  // As kube2iam was measured.
  { what: 'kiam kube2iam', flags: undefined, crowds: [{ pods: 500, callersPerPod: 1 }] },
] as const;

/** R4: AssumeRole calls for 1,000 callers of one role that nobody has asked for before, and what a crowd does to the calls. */
export async function measureColdCallers({ bundles }: Setting): Promise<Figure> {
  const rows: Figure['rows'][number][] = [];
  const data = [];
  for (const { what, flags, crowds } of SETTINGS) {
    const place = await openPlace(bundles);
    try {
      const { world } = place;
      world.sts.everywhere({ delayMs: STS_MS });
      const agent =
        flags === undefined ? await place.startKube2iam() : await place.startAgent(await place.startServer(), flags);
      await pause(500);
      for (const [index, { pods: podCount, callersPerPod }] of crowds.entries()) {
        // Nobody knows of the pods until all of them have asked.
        world.api.controls.holdDelivery('pods');
        const names = Array.from({ length: podCount }, (_, pod) => `crowd-${index}-${pod}`);
        const pods = await Promise.all(names.map((name) => world.pod({ namespace: 'team', name, role: ROLE })));
        const callers = podCount * callersPerPod;
        const job = { kind: 'once', path: LISTING + ROLE, connections: callers, durationMs: 5000 } as const;
        const { statuses, latency } = await place
          .startLoad()
          .run({ ...job, port: agent.port, from: pods.map(({ address }) => address) }, {}, () => {
            setTimeout(() => world.api.controls.releaseDelivery('pods'), HELD_MS);
          });
        const calls = world.sts.calls.list(`${world.roleBaseArn}${ROLE}`).length;
        if (index === 0) {
          const target = '1 (Kiam 1, kube2iam 436 for 500)';
          rows.push({ figure: `AssumeRole calls, ${what}`, value: String(calls), target });
        }
        rows.push({
          figure: `${fixed(podCount)} pods x ${callersPerPod}, ${what}`,
          value: `${statusText(statuses)}; p50 ${fixed(latency.p50Ms)} ms, p99 ${fixed(latency.p99Ms)} ms`,
          target: index === 0 ? 'all 200' : '-',
        });
        data.push({ what, callers, podCount, calls, statuses, latency });
        await pause(1000);
      }
    } finally {
      await place.close();
    }
  }
  return {
    name: 'r4',
    title: 'crowds of cold callers of one role',
    method: [
      `all connections of a crowd ask at once; the watch is held back for ${HELD_MS} ms more, and STS takes ${STS_MS} ms`,
      'the crowds come one after another, a second apart, before the same agent and server',
    ],
    rows,
    data,
  };
}
