import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { startChild } from '#sandbox/child.ts';

import type { LoadResult } from './messages.ts';
import { askUntilServed, type Daemon, LISTING, openPlace, pause, type Place } from './place.ts';
import { type Figure, fixed, type Row, statusText } from './report.ts';
import type { Setting } from './setting.ts';

const RATE = 50;

/** Where the attacker knocks, and whether its victim is answered by the server rather than from the agent's memory. */
interface Door {
  readonly name: string;
  readonly path: string;
  readonly portOf: (agent: Daemon, server: Daemon) => number;
  readonly asksServer?: boolean;
}

const DOORS: readonly Door[] = [
  { name: '/ping', path: '/ping', portOf: ({ port }) => port },
  { name: '/health', path: '/health', portOf: ({ port }) => port },
  { name: 'the path of 429', path: `${LISTING}attacker`, portOf: ({ port }) => port },
  { name: "the agent's /metrics", path: '/metrics', portOf: ({ metricsPort }) => metricsPort },
  {
    name: "the server's /metrics",
    path: '/metrics',
    portOf: (_agent, { metricsPort }) => metricsPort,
    asksServer: true,
  },
];

interface DoorResult {
  readonly name: string;
  readonly alone: LoadResult;
  readonly attacked: LoadResult;
  readonly agentMiB: number;
  readonly serverMiB: number;
}

/** P7: what a victim notices of an attacker who pipelines at one of the doors, and what the daemons then hold. */
export async function measureDoors({ bundles, quick }: Setting): Promise<Figure> {
  const results: DoorResult[] = [];
  for (const door of DOORS) {
    const place = await openPlace(bundles);
    try {
      results.push(await attackDoor(place, door, quick ? 2000 : 8000));
    } finally {
      await place.close();
    }
  }
  const latency = ({ latency: { p50Ms, p99Ms, maxMs }, statuses }: LoadResult): string =>
    `p50 ${fixed(p50Ms, 2)} ms, p99 ${fixed(p99Ms, 2)} ms, max ${fixed(maxMs, 1)} ms; ${statusText(statuses)}`;
  return {
    name: 'p7',
    title: `a pod asking ${RATE} times a second beside one that pipelines with all that a core can do`,
    method: [
      '32 connections with 2,000 requests in one write, opened again as soon as they are closed; the attacker is held to one core by taskset',
      'each door with daemons of its own; the memory is the most that was ever resident (VmHWM)',
      "at the server's door the victim's agent has --node-store=false, so that the server answers each request",
      'timed from when a request was due',
    ],
    rows: results.flatMap(({ name, alone, attacked, agentMiB, serverMiB }): Row[] => [
      { figure: `${name}: alone`, value: latency(alone) },
      { figure: `${name}: attacked`, value: latency(attacked), target: 'p99 <= 50 ms, all 200' },
      {
        figure: `${name}: memory`,
        value: `agent ${fixed(agentMiB)} MiB, server ${fixed(serverMiB)} MiB`,
        target: 'agent <= 200 MiB, server <= 400 MiB',
      },
    ]),
    data: results,
  };
}

async function attackDoor(place: Place, door: Door, durationMs: number): Promise<DoorResult> {
  const server = await place.startServer();
  const agent = await place.startAgent(server, door.asksServer === true ? ['--node-store=false'] : []);
  const victim = await place.world.pod({ namespace: 'team', name: 'victim', role: 'victim' });
  const attacker = await place.world.pod({ namespace: 'team', name: 'attacker', role: 'attacker' });
  const path = `${LISTING}victim`;
  await askUntilServed(agent.port, path, victim.address);
  const load = place.startLoad();
  const measure = (): Promise<LoadResult> =>
    load.run({
      kind: 'open',
      port: agent.port,
      path,
      from: [victim.address],
      connections: 8,
      requestsPerSecond: RATE,
      warmUpMs: 500,
      durationMs,
    });
  const alone = await measure();
  const program = fileURLToPath(new URL('attack-process.ts', import.meta.url));
  const child = startChild({
    name: 'attacker',
    argv: [
      'taskset',
      '-c',
      '0',
      process.execPath,
      program,
      String(door.portOf(agent, server)),
      door.path,
      attacker.address,
    ],
    environment: place.world.environment.clean,
  });
  try {
    await child.line(/attacking/);
    await pause(500);
    const attacked = await measure();
    return {
      name: door.name,
      alone,
      attacked,
      agentMiB: peakMiB(agent.pid),
      serverMiB: peakMiB(server.pid),
    };
  } finally {
    await child.stop('SIGKILL');
  }
}

/** The most that a process has ever had resident; 0 when it is gone. */
function peakMiB(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}
