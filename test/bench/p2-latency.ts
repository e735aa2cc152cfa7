import { type Contestant, openContest } from './contestants.ts';
import type { Measured } from './load.ts';
import type { Setting } from './setting.ts';
import { openPlace } from './place.ts';
import { type Figure, fixed, median, type Row } from './report.ts';

const RATE = 1000;

/** P2: warm latency at one connection and at 1,000 requests a second. */
export async function measureLatency({ bundles, quick }: Setting): Promise<Figure> {
  const place = await openPlace(bundles);
  try {
    const contest = await openContest(place, bundles.hasNodeStore);
    const load = place.startLoad();
    const job = { path: contest.path, from: [contest.from], warmUpMs: 200, durationMs: quick ? 300 : 1000 };
    const rounds = quick ? 2 : 5;
    const single = new Map<Contestant, Measured[]>(contest.all.map((contestant) => [contestant, []]));
    const steady = new Map<Contestant, Measured>();
    for (let round = 0; round < rounds; round += 1) {
      for (const contestant of contest.all) {
        const measured = await load.run({ ...job, port: contestant.port, connections: 1 });
        single.get(contestant)?.push(measured);
      }
    }
    for (const contestant of contest.all) {
      steady.set(
        contestant,
        await load.run({
          ...job,
          kind: 'open',
          port: contestant.port,
          connections: 32,
          requestsPerSecond: RATE,
          warmUpMs: quick ? 500 : 1000,
          durationMs: quick ? 800 : 4000,
        }),
      );
    }
    const figures = contest.all.map((contestant) => {
      const results = single.get(contestant) ?? [];
      return {
        name: contestant.name,
        oneConnection: {
          p50Ms: median(results.map(({ latency }) => latency.p50Ms)),
          p99Ms: median(results.map(({ latency }) => latency.p99Ms)),
        },
        steady: steady.get(contestant),
      };
    });
    const base = figures[0]?.oneConnection.p50Ms ?? Number.NaN;
    const lateness = figures[0]?.steady?.lateness;
    const rows = figures.flatMap(({ name, oneConnection, steady: open }): Row[] => [
      {
        figure: `${name}, one connection`,
        value: `p50 ${fixed(oneConnection.p50Ms, 3)} ms (${fixed(oneConnection.p50Ms / base, 2)} x node:http), p99 ${fixed(oneConnection.p99Ms, 2)} ms`,
        ...(name === contest.node.name ? {} : { target: 'p50 <= 1.3 x node:http' }),
      },
      {
        figure: `${name}, ${fixed(RATE)}/s`,
        value: `p50 ${fixed(open?.latency.p50Ms ?? 0, 2)} ms, p99 ${fixed(open?.latency.p99Ms ?? 0, 2)} ms, max ${fixed(open?.latency.maxMs ?? 0, 1)} ms`,
        target: 'p50 <= 1 ms, p99 <= 5 ms',
      },
    ]);
    return {
      name: 'p2',
      title: 'warm latency',
      method: [
        `one connection: medians of ${rounds} interleaved rounds of ${job.durationMs} ms, each answer waited for before the next request`,
        `${fixed(RATE)}/s: requests are due at a constant rate over 32 connections and are timed from when they were due, not from when they could be sent`,
        `the generator itself sent at most ${fixed(lateness?.p50Ms ?? 0, 2)} ms late at p50 and ${fixed(lateness?.p99Ms ?? 0, 2)} ms at p99, which is within the latencies`,
      ],
      rows,
      data: figures,
    };
  } finally {
    await place.close();
  }
}
