import type { LoadResult } from './messages.ts';
import { askUntilServed, LISTING, openPlace } from './place.ts';
import { type Figure, fixed, statusText } from './report.ts';
import type { Setting } from './setting.ts';

const RATE = 50;
const SOCKETS = 1000;
const SLOW_PODS = 8;

/** What one pod notices of others on its node that behave badly. Every limit is at its default. */
export async function measureNeighbours({ bundles, quick }: Setting): Promise<Figure> {
  const place = await openPlace(bundles);
  try {
    const server = await place.startServer();
    const agent = await place.startAgent(server);
    const start = (name: string) => place.world.pod({ namespace: 'team', name, role: name });
    const victim = await start('victim');
    const greedy = await start('greedy');
    const slow = await Promise.all(Array.from({ length: SLOW_PODS }, (_, index) => start(`slow-${index}`)));
    await askUntilServed(agent.port, `${LISTING}victim`, victim.address);
    const durationMs = quick ? 2000 : 8000;
    const measured = place.startLoad();
    const measureVictim = (): Promise<LoadResult> =>
      measured.run({
        kind: 'open',
        port: agent.port,
        path: `${LISTING}victim`,
        from: [victim.address],
        connections: 8,
        requestsPerSecond: RATE,
        warmUpMs: 500,
        durationMs,
      });
    const alone = await measureVictim();
    const atOnce = { port: agent.port, warmUpMs: 0, durationMs: durationMs + 1000 };
    const stalling = place.startLoad().run({
      ...atOnce,
      kind: 'stall',
      path: LISTING,
      from: slow.map(({ address }) => address),
      connections: SOCKETS,
    });
    const withSlow = await measureVictim();
    await stalling;
    const [, greedyLoad, withBoth] = await Promise.all([
      place.startLoad().run({
        ...atOnce,
        kind: 'stall',
        path: LISTING,
        from: slow.map(({ address }) => address),
        connections: SOCKETS,
      }),
      place.startLoad().run({ ...atOnce, path: `${LISTING}greedy`, from: [greedy.address] }),
      measureVictim(),
    ]);
    const row = (figure: string, { latency, statuses }: LoadResult) => ({
      figure,
      value: `p50 ${fixed(latency.p50Ms, 2)} ms, p99 ${fixed(latency.p99Ms, 2)} ms, max ${fixed(latency.maxMs, 1)} ms; ${statusText(statuses)}`,
      target: 'p99 < 50 ms, all 200',
    });
    return {
      name: 'neighbours',
      title: `a pod asking ${RATE} times a second beside pods that behave badly`,
      method: [
        `slow: ${fixed(SOCKETS)} connections from ${SLOW_PODS} pods, each sending a byte a second of a request that never ends, opened again when closed`,
        'greedy: 64 connections of one more pod at full speed; each in a load process of its own, so that three of them share two cores with agent and server',
        'timed from when a request was due',
      ],
      rows: [
        row('alone', alone),
        row('beside the slow ones', withSlow),
        row('beside slow and greedy ones', withBoth),
        {
          figure: 'the greedy one',
          value: `${fixed(greedyLoad.requestsPerSecond)}/s; ${statusText(greedyLoad.statuses)}`,
        },
      ],
      data: { alone, withSlow, withBoth, greedyLoad },
    };
  } finally {
    await place.close();
  }
}
