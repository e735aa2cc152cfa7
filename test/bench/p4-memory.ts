import { openContest } from './contestants.ts';
import type { Measured } from './load.ts';
import type { Setting } from './setting.ts';
import { putManyPods } from './many-pods.ts';
import { askUntilServed, openPlace, pause } from './place.ts';
import { memoryOf, type Memory } from './process-figures.ts';
import { type Figure, fixed, type Row } from './report.ts';

const PODS = 10_000;
const ROLES = 200;

/** P4: resident memory. */
export async function measureMemory(setting: Setting): Promise<Figure> {
  const agents = await agentMemory(setting);
  const servers = await serverMemory(setting);
  const row = (figure: string, memory: Memory, base?: Memory, target?: string): Row => ({
    figure,
    value:
      `RSS ${fixed(memory.rssMiB)} MiB, PSS ${fixed(memory.pssMiB)}, of which private ${fixed(memory.anonymousMiB)}` +
      (base === undefined ? '' : `; RSS ${fixed(memory.rssMiB / base.rssMiB, 2)} x fastify`),
    ...(target === undefined ? {} : { target }),
  });
  return {
    name: 'p4',
    title: 'resident memory',
    method: [
      'from /proc/<pid>/smaps_rollup; RSS counts the pages of the Node program in full, PSS by the share of each process that runs it here',
      'the same options of Node for all, those of the first line of the bundles; nothing is forced to collect garbage',
      `load: 64 connections at full speed for ${agents.loadSeconds} s, on agent and fastify at the same time`,
      `${fixed(PODS)} pods of about 4 KiB of JSON in 100 namespaces with ${ROLES} roles, put while the server watches; then read again after they have settled`,
    ],
    rows: [
      row('fastify idle', agents.fastifyIdle),
      row('agent idle', agents.agentIdle, agents.fastifyIdle, 'RSS <= 1.25 x fastify (Kiam 29 MiB)'),
      row('fastify after load', agents.fastifyLoaded),
      row('agent after load', agents.agentLoaded, agents.fastifyLoaded, 'RSS <= 1.25 x fastify, <= 100 MiB'),
      row('server idle', servers.idle, agents.fastifyIdle),
      row(`server with ${fixed(PODS)} pods`, servers.full, undefined, 'RSS <= 250 MiB (Kiam 33 -> 64 MiB)'),
      row(`server that lists ${fixed(PODS)} pods`, servers.listed, undefined, 'RSS <= 250 MiB'),
    ],
    data: { agents, servers },
  };
}

async function agentMemory({ bundles, quick }: Setting) {
  const place = await openPlace(bundles);
  try {
    const contest = await openContest(place, bundles.hasNodeStore);
    const pidOf = (processes: Readonly<Record<string, number>>): number => Object.values(processes)[0] ?? 0;
    const agentPid = pidOf(contest.agent.processes);
    const fastifyPid = pidOf(contest.fastify.processes);
    await pause(quick ? 1000 : 3000);
    const idle = [memoryOf(agentPid), memoryOf(fastifyPid)] as const;
    const loadSeconds = quick ? 8 : 60;
    const run = (port: number): Promise<Measured> =>
      place.startLoad().run({ port, path: contest.path, from: [contest.from], durationMs: loadSeconds * 1000 });
    const [agentLoad, fastifyLoad] = await Promise.all([run(contest.agent.port), run(contest.fastify.port)]);
    return {
      loadSeconds,
      agentIdle: idle[0],
      fastifyIdle: idle[1],
      agentLoaded: memoryOf(agentPid),
      fastifyLoaded: memoryOf(fastifyPid),
      agentStatuses: agentLoad.statuses,
      fastifyStatuses: fastifyLoad.statuses,
    };
  } finally {
    await place.close();
  }
}

async function serverMemory({ bundles, quick }: Setting) {
  const place = await openPlace(bundles);
  try {
    const server = await place.startServer();
    await pause(quick ? 500 : 2000);
    const idle = memoryOf(server.pid);
    putManyPods(place.world, { count: PODS, roles: ROLES, generation: 1 });
    const marker = await place.world.pod({ namespace: 'team', name: 'marker', role: 'marker' });
    const agent = await place.startAgent(server);
    await askUntilServed(agent.port, '/latest/meta-data/iam/security-credentials/', marker.address);
    await pause(quick ? 1000 : 5000);
    const full = memoryOf(server.pid);
    const second = await place.startServer();
    await pause(quick ? 1000 : 5000);
    return { idle, full, listed: memoryOf(second.pid) };
  } finally {
    await place.close();
  }
}
