import type { LoadResult } from './messages.ts';
import { askUntilServed, LISTING, openPlace, pause } from './place.ts';
import { type Figure, fixed, statusText } from './report.ts';
import type { Setting } from './setting.ts';

const NEIGHBOUR_RATE = 50;
const DENIED_RATE = 90;
/** As many connections as the agent keeps for one address. */
const ROLES = 16;

/** What calls of others to the server notice of a pod that is denied its role and keeps asking. */
export async function measureDenied({ bundles, quick }: Setting): Promise<Figure> {
  const place = await openPlace(bundles);
  try {
    const { world } = place;
    const server = await place.startServer();
    const agent = await place.startAgent(server);
    // All of its requests are calls to the server.
    const other = await place.startAgent(server, ['--node-store=false']);
    world.namespace('strict', 'arn:aws:iam::1:role/nobody');
    const neighbour = await world.pod({ namespace: 'team', name: 'neighbour', role: 'neighbour' });
    const denied = await world.pod({ namespace: 'strict', name: 'denied', role: 'denied' });
    await askUntilServed(other.port, `${LISTING}neighbour`, neighbour.address);
    await pause(1000);
    const durationMs = quick ? 3000 : 10_000;
    const measured = place.startLoad();
    const measureNeighbour = (): Promise<LoadResult> =>
      measured.run({
        kind: 'open',
        port: other.port,
        path: `${LISTING}neighbour`,
        from: [neighbour.address],
        connections: 8,
        requestsPerSecond: NEIGHBOUR_RATE,
        warmUpMs: 500,
        durationMs,
      });
    const beside = async (role: string): Promise<readonly [LoadResult, LoadResult]> =>
      Promise.all([
        measureNeighbour(),
        place.startLoad().run({
          kind: 'open',
          port: agent.port,
          path: LISTING + role,
          from: [denied.address],
          connections: ROLES,
          requestsPerSecond: DENIED_RATE,
          warmUpMs: 0,
          durationMs: durationMs + 500,
        }),
      ]);
    const alone = await measureNeighbour();
    const [besideOne, one] = await beside('denied');
    const [besideMany, many] = await beside('role-{connection}');
    const row = (figure: string, { latency, statuses }: LoadResult) => ({
      figure,
      value: `p50 ${fixed(latency.p50Ms, 1)} ms, p99 ${fixed(latency.p99Ms, 1)} ms; ${statusText(statuses)}`,
    });
    return {
      name: 'denied',
      title: `calls to the server beside a pod that is denied ${DENIED_RATE} times a second`,
      method: [
        `${NEIGHBOUR_RATE} requests a second at an agent of its own that keeps nothing, so that each is a call to the server`,
        `the denied pod asks for one role, then for ${ROLES} roles in turn`,
        'timed from when a request was due',
      ],
      rows: [
        row('a neighbour alone', alone),
        { ...row('beside the denied pod', besideOne), target: 'as alone' },
        { ...row(`beside it with ${ROLES} roles`, besideMany), target: 'as alone' },
        { figure: 'the denied pod', value: `${statusText(one.statuses)}; ${statusText(many.statuses)}` },
      ],
      data: { alone, besideOne, besideMany, one, many },
    };
  } finally {
    await place.close();
  }
}
