import { startServiceRelay } from '../support/service-relay.ts';
import { type Answer, ask, askUntilServed, type Daemon, LISTING, NO_LIMITS, openPlace, pause } from './place.ts';
import { type Figure, fixed, statusText } from './report.ts';
import type { Setting } from './setting.ts';

const PODS = 20;
const EVERY_MS = 250;

/** R9: warm pods that are served while both servers are replaced one by one and STS fails. */
export async function measureRollout({ bundles, quick }: Setting): Promise<Figure> {
  const place = await openPlace(bundles);
  const relay = await startServiceRelay();
  try {
    const { world } = place;
    const servers: Daemon[] = [];
    const startServer = async (index: number): Promise<void> => {
      servers[index] = await place.startServer();
      relay.use(servers.map(({ port }) => port));
    };
    await startServer(0);
    await startServer(1);
    const agent = await place.startAgent({ port: relay.port }, NO_LIMITS);
    const names = Array.from({ length: PODS }, (_, index) => `warm-${index + 1}`);
    const pods = await Promise.all(names.map((name) => world.pod({ namespace: 'team', name, role: name })));
    for (const { name, address } of pods) await askUntilServed(agent.port, LISTING + name, address);
    // The stream brings every set that a server has fetched; the agent then holds them all.
    await pause(3000);
    world.sts.everywhere({ fail: true });
    const answers: Answer[] = [];
    const stop = new AbortController();
    const asking = (async (): Promise<void> => {
      while (!stop.signal.aborted) {
        answers.push(...(await Promise.all(pods.map(({ name, address }) => ask(agent.port, LISTING + name, address)))));
        await pause(EVERY_MS);
      }
    })();
    for (const index of [0, 1]) {
      await servers[index]?.stop();
      await startServer(index);
    }
    await pause(quick ? 5000 : 30_000);
    stop.abort();
    await asking;
    const statuses: Record<string, number> = {};
    for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1;
    const failures = answers
      .filter(({ status }) => status !== 200)
      .map(({ status, body }) => `${status} ${body.trim()}`);
    const served = ((statuses['200'] ?? 0) * 100) / answers.length;
    return {
      name: 'r9',
      title: 'warm pods while both servers are replaced one by one and STS fails',
      method: [
        `${PODS} pods with a role each, ${1000 / EVERY_MS} times a second and more seldom where answers take long, each time on a new connection, of which no kernel shows here whose it is: a server confirms each`,
        `from before the first server is stopped until ${quick ? 5 : 30} s after the second is replaced`,
        'that it holds until the credentials end is shown by test/model/outage.test.ts, in injected time',
      ],
      rows: [{ figure: 'served', value: `${fixed(served, 2)} %; ${statusText(statuses)}`, target: '100 %' }],
      data: { statuses, served, failures },
    };
  } finally {
    await place.close();
    await relay.close();
  }
}
