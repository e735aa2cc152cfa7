import { LISTING, openPlace, pause } from './place.ts';
import { type Figure, fixed, statusText } from './report.ts';
import type { Setting } from './setting.ts';

const PODS = 100;
const CALLERS_PER_POD = 10;
const STS_MS = 200;
const HELD_MS = 200;
const ROLE = 'cold';

/** R4: AssumeRole calls for 1,000 callers of one role that nobody has asked for before. */
export async function measureColdCallers({ bundles }: Setting): Promise<Figure> {
  const place = await openPlace(bundles);
  try {
    const { world } = place;
    world.sts.everywhere({ delayMs: STS_MS });
    const server = await place.startServer();
    const agent = await place.startAgent(server);
    await pause(500);
    // Nobody knows of the pods until all of them have asked.
    world.api.controls.holdDelivery('pods');
    const names = Array.from({ length: PODS }, (_, index) => `cold-${index}`);
    const pods = await Promise.all(names.map((name) => world.pod({ namespace: 'team', name, role: ROLE })));
    const callers = PODS * CALLERS_PER_POD;
    const job = { kind: 'once', path: LISTING + ROLE, connections: callers, durationMs: 5000 } as const;
    const { statuses, latency } = await place
      .startLoad()
      .run({ ...job, port: agent.port, from: pods.map(({ address }) => address) }, {}, () => {
        setTimeout(() => world.api.controls.releaseDelivery('pods'), HELD_MS);
      });
    const calls = world.sts.calls.list(`${world.roleBaseArn}${ROLE}`).length;
    return {
      name: 'r4',
      title: `${fixed(PODS * CALLERS_PER_POD)} cold callers of one role`,
      method: [
        `${PODS} pods with ${CALLERS_PER_POD} connections each ask at once; the watch is held back for ${HELD_MS} ms more, and STS takes ${STS_MS} ms`,
      ],
      rows: [
        { figure: 'AssumeRole calls', value: String(calls), target: '1 (Kiam 1, kube2iam 436 for 500)' },
        { figure: 'served', value: `${statusText(statuses)}; p99 ${fixed(latency.p99Ms)} ms`, target: 'all 200' },
      ],
      data: { calls, callers, statuses, latency },
    };
  } finally {
    await place.close();
  }
}
