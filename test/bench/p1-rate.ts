import { spawnSync } from 'node:child_process';

import { type Contestant, openContest, openKube2iam } from './contestants.ts';
import type { Measured } from './load.ts';
import type { Setting } from './setting.ts';
import { openPlace } from './place.ts';
import { type Figure, fixed, median, percentile, type Row, statusText } from './report.ts';

const CONNECTIONS = 64;

/** P1: warm credential requests a second at 64 connections. */
export async function measureRate({ bundles, quick }: Setting): Promise<Figure> {
  const place = await openPlace(bundles);
  try {
    const contest = await openContest(place, bundles.hasNodeStore);
    const all = [...contest.all, await openKube2iam(place, contest)];
    const load = place.startLoad();
    // Many short rounds: whatever else the machine does comes and goes within seconds, and the median leaves it out.
    const rounds = quick ? 4 : 21;
    const job = { path: contest.path, from: [contest.from], connections: CONNECTIONS };
    const durationMs = quick ? 400 : 500;
    const results = new Map<Contestant, Measured[]>(all.map((contestant) => [contestant, []]));
    for (const { port } of all) await load.run({ ...job, port, warmUpMs: quick ? 400 : 2000, durationMs: 100 });
    for (let round = 0; round < rounds; round += 1) {
      for (const contestant of rotated(all, round)) {
        const measured = await load.run(
          { ...job, port: contestant.port, warmUpMs: quick ? 50 : 200, durationMs },
          contestant.processes,
        );
        results.get(contestant)?.push(measured);
      }
    }
    const figures = all.map((contestant) => summarise(contestant, results.get(contestant) ?? []));
    const limited = await withLimits();
    const rows: Row[] = figures.map(({ name, rate, cpu, generator }) => ({
      figure: name,
      value: `${fixed(rate)}/s, CPU us a request: ${cpu}; generator at ${fixed(generator * 100)} % of a core`,
    }));
    for (const contestant of all.slice(2)) {
      rows.push(
        ratio(contestant, contest.fastify, '>= 0.85 for the agent from memory'),
        ratio(contestant, contest.node, '>= 0.72 (kube2iam 0.68, Kiam 0.25)'),
      );
    }
    rows.push({ figure: 'agent with its limits on, one pod', value: limited.value, target: '100 a second served' });
    const wrk = wrkRate(contest.node.port, contest.path);
    if (wrk !== undefined) rows.push({ figure: 'node:http by wrk, for comparison', value: `${fixed(wrk)}/s` });
    return {
      name: 'p1',
      title: `warm credential requests a second at ${CONNECTIONS} connections`,
      method: [
        `medians of ${rounds} interleaved rounds of ${durationMs} ms after a warm-up; the same path, body and headers everywhere (fastify adds a charset), the same options of Node`,
        'a ratio is the median of the ratios within each round, with its quartiles: it is not the quotient of the two medians above, whose rounds may be different ones. By CPU: how many requests the same CPU time of the HTTP process serves, which other work on the machine disturbs less than the rate',
        'load from one other process on the same machine; the rate against node:http is the most that the generator is known to make',
        '"agent HTTP part" is src/agent over credentials in its own memory, without server and gRPC: the most that the agent can reach',
        'of the agent that asks the server, the server shares the two cores with agent and generator',
      ],
      rows,
      data: { figures, limited: limited.measured, wrkRequestsPerSecond: wrk, rounds, durationMs },
    };

    function ratio(contestant: Contestant, base: Contestant, target: string): Row {
      const rates = pairs(contestant, base).map(([own, other]) => own.requestsPerSecond / other.requestsPerSecond);
      const costs = pairs(contestant, base).map(([own, other]) => costUs(base, other) / costUs(contestant, own));
      const value = `${spread(rates)} by rate, ${spread(costs)} by CPU a request`;
      return { figure: `${contestant.name} / ${base.name}`, value, target };
    }

    /** What two of them did in the same rounds. */
    function pairs(contestant: Contestant, base: Contestant): [Measured, Measured][] {
      const others = results.get(base) ?? [];
      return (results.get(contestant) ?? []).flatMap((own, round) => {
        const other = others[round];
        return other === undefined ? [] : [[own, other] as [Measured, Measured]];
      });
    }

    async function withLimits(): Promise<{ value: string; measured: Measured }> {
      const server = await place.startServer();
      const agent = await place.startAgent(server);
      const measured = await load.run(
        { ...job, port: agent.port, warmUpMs: 200, durationMs },
        { agent: agent.pid, server: server.pid },
      );
      const cpu = fixed(measured.cpuUsPerRequest['agent'] ?? 0);
      return {
        value: `${fixed(measured.requestsPerSecond)}/s: ${statusText(measured.statuses)}; ${cpu} us each`,
        measured,
      };
    }
  } finally {
    await place.close();
  }
}

function summarise({ name, processes }: Contestant, rounds: readonly Measured[]) {
  const cpuUsPerRequest = Object.fromEntries(
    Object.keys(processes).map((process) => [process, median(rounds.map((m) => m.cpuUsPerRequest[process] ?? 0))]),
  );
  return {
    name,
    rate: median(rounds.map((measured) => measured.requestsPerSecond)),
    rates: rounds.map((measured) => Math.round(measured.requestsPerSecond)),
    cpuUsPerRequest,
    cpu: Object.values(cpuUsPerRequest)
      .map((us) => fixed(us))
      .join(' + '),
    generator: median(rounds.map((measured) => measured.generatorCores)),
    p50Ms: median(rounds.map((measured) => measured.latency.p50Ms)),
    p99Ms: median(rounds.map((measured) => measured.latency.p99Ms)),
    statuses: rounds.map((measured) => measured.statuses),
  };
}

/** `0.92 (0.88 to 0.95)`: the median, and the quartiles. */
function spread(ratios: readonly number[]): string {
  const [lower, upper] = [percentile(ratios, 0.25), percentile(ratios, 0.75)];
  return `${fixed(median(ratios), 2)} (${fixed(lower, 2)} to ${fixed(upper, 2)})`;
}

/** Of the first of its processes, which is the one that pods talk to. */
function costUs({ processes }: Contestant, { cpuUsPerRequest }: Measured): number {
  return cpuUsPerRequest[Object.keys(processes)[0] ?? ''] ?? Number.NaN;
}

/** Each round begins with another one, so that nobody always runs after the same neighbour. */
function rotated<T>(items: readonly T[], by: number): T[] {
  const at = by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}

/** A second generator's word on the same server, where it is installed. */
function wrkRate(port: number, path: string): number | undefined {
  const args = ['-c', String(CONNECTIONS), '-t', '1', '-d', '2s', `http://127.0.0.1:${port}${path}`];
  const { stdout } = spawnSync('wrk', args, { encoding: 'utf8' });
  const rate = /Requests\/sec: +([\d.]+)/.exec(stdout ?? '')?.[1];
  return rate === undefined ? undefined : Number(rate);
}
