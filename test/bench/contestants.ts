import { askUntilServed, LISTING, type Measurable, NO_LIMITS, type Place } from './place.ts';

/** One of those that are measured against each other, all of which give the same answer to the same request. */
export interface Contestant {
  readonly name: string;
  readonly port: number;
  /** What is to be counted as its cost. */
  readonly processes: Readonly<Record<string, number>>;
}

export interface TakeoverBackoff {
  readonly path: string;
  /** The one pod that asks. */
  readonly from: string;
  readonly node: Contestant;
  readonly fastify: Contestant;
  /** The agent's HTTP part alone over credentials in its memory, in a process of its own. */
  readonly memory: Contestant;
  /** The agent's bundle, as it comes. */
  readonly agent: Contestant;
  /** The agent asking the server for each request; absent where the agent as it comes does that. */
  readonly unary: Contestant | undefined;
  readonly all: readonly Contestant[];
}

/** One pod with a role, its credentials warm, and all contestants running. */
export async function openContest(place: Place, hasNodeStore: boolean): Promise<TakeoverBackoff> {
  const server = await place.startServer();
  const pod = await place.world.pod({ namespace: 'team', name: 'warm', role: 'warm', nodeName: 'node-1' });
  const path = `${LISTING}warm`;
  const agent = await place.startAgent(server, NO_LIMITS);
  const unary = hasNodeStore ? await place.startAgent(server, [...NO_LIMITS, '--node-store=false']) : undefined;
  const body = await askUntilServed(agent.port, path, pod.address);
  if (unary !== undefined) await askUntilServed(unary.port, path, pod.address);
  const [node, fastify, memory] = await Promise.all([
    place.startBaseline('node', path, body),
    place.startBaseline('fastify', path, body),
    place.startBaseline('memory', path, body),
  ]);
  const alone = (name: string, { port, pid }: Measurable): Contestant => ({ name, port, processes: { [name]: pid } });
  const contest = {
    path,
    from: pod.address,
    node: alone('node:http', node),
    fastify: alone('fastify', fastify),
    memory: alone('agent HTTP part', memory),
    agent: {
      name: hasNodeStore ? 'agent' : 'agent (asks the server)',
      port: agent.port,
      processes: { agent: agent.pid, server: server.pid },
    },
    unary:
      unary === undefined
        ? undefined
        : {
            name: 'agent --node-store=false',
            port: unary.port,
            processes: { agent: unary.pid, server: server.pid },
          },
  };
  const all = [contest.node, contest.fastify, contest.memory, contest.agent];
  return { ...contest, all: contest.unary === undefined ? all : [...all, contest.unary] };
}

/** `kiam kube2iam`, warm. */
export async function openKube2iam(
  place: Place,
  { path, from }: Pick<TakeoverBackoff, 'path' | 'from'>,
): Promise<Contestant> {
  const { port, pid } = await place.startKube2iam();
  await askUntilServed(port, path, from);
  return { name: 'kiam kube2iam', port, processes: { kube2iam: pid } };
}
