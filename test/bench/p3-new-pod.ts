import type { Setting } from './setting.ts';
import { ask, LISTING, openPlace, pause, type Place } from './place.ts';
import { type Figure, fixed, percentile } from './report.ts';

const STS_MS = 200;
const APART_MS = 50;

interface Timed {
  readonly tookMs: number;
  readonly attempts: number;
}

const PROGRAMS = ['agent and server', 'kiam kube2iam'] as const;

/** P3: from a pod's address being at the API to its credentials, every pod with a role that was never asked for. */
export async function measureNewPods(setting: Setting): Promise<Figure> {
  const pods = setting.quick ? 60 : 200;
  const rows: Figure['rows'][number][] = [];
  const data = [];
  for (const program of PROGRAMS) {
    const found = await measureProgram(setting, program, pods);
    data.push(found);
    rows.push(
      {
        figure: `${program}: p50 / p99 / max`,
        value: `${fixed(found.p50Ms)} / ${fixed(found.p99Ms)} / ${fixed(found.maxMs)} ms`,
        target: 'p99 <= 400 ms, none over 1 s (Kiam 205 / 210, kube2iam 209 / 914)',
      },
      { figure: `${program}: over 1 s`, value: String(found.over1s), target: '0' },
      { figure: `${program}: pods that had to ask again`, value: String(found.askedAgain), target: '0' },
      {
        figure: `${program}: AssumeRole calls for as many roles`,
        value: `${found.assumeRoleCalls} for ${pods}`,
        target: '<= 1.1 x',
      },
    );
  }
  return {
    name: 'p3',
    title: `first credentials of a new pod, STS taking ${STS_MS} ms`,
    method: [
      `${pods} pods, one every ${APART_MS} ms, each with a role of its own; the clock starts when the API shows the pod's address and stops when both of an SDK's requests, listing and credentials, are answered`,
      'client and stand-in world are one process, which adds its own delays; 503 is asked again at once and counted',
    ],
    rows,
    data,
  };
}

async function measureProgram({ bundles }: Setting, program: (typeof PROGRAMS)[number], pods: number) {
  const place = await openPlace(bundles);
  try {
    place.world.sts.everywhere({ delayMs: STS_MS });
    const { port } =
      program === 'kiam kube2iam' ? await place.startKube2iam() : await place.startAgent(await place.startServer());
    await pause(500);
    const running: Promise<Timed>[] = [];
    for (let index = 0; index < pods; index += 1) {
      running.push(timeOnePod(place, port, `new-${index}`));
      await pause(APART_MS);
    }
    const timed = await Promise.all(running);
    const took = timed.map(({ tookMs }) => tookMs);
    return {
      program,
      pods,
      p50Ms: percentile(took, 0.5),
      p99Ms: percentile(took, 0.99),
      maxMs: percentile(took, 1),
      over1s: took.filter((ms) => ms > 1000).length,
      askedAgain: timed.filter(({ attempts }) => attempts > 2).length,
      assumeRoleCalls: place.world.sts.calls.count(),
    };
  } finally {
    await place.close();
  }
}

async function timeOnePod(place: Place, port: number, name: string): Promise<Timed> {
  const pod = await place.world.pod({ namespace: 'team', name, role: name });
  const startedMs = performance.now();
  let attempts = 0;
  for (const path of [LISTING, `${LISTING}${name}`]) {
    for (;;) {
      attempts += 1;
      const { status } = await ask(port, path, pod.address);
      if (status === 200) break;
      if (attempts > 40) return { tookMs: Number.POSITIVE_INFINITY, attempts };
      await pause(10);
    }
  }
  return { tookMs: performance.now() - startedMs, attempts };
}
