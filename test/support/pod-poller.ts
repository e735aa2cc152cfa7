import { fileURLToPath } from 'node:url';

import { startChild } from '#sandbox/child.ts';

/** What became of the requests of one kind. */
export interface Tally {
  attempts: number;
  /** Answers of the real metadata service, told by its Server header: there may be none. */
  reached: number;
  /** How many answers of each status, and how many failures of each code. */
  outcomes: Record<string, number>;
}

/** `new`: a connection for each request. `kept`: opened again when it breaks. `before`: opened once, at the beginning. */
export const LANES = ['new 4', 'new 6', 'kept 4', 'kept 6', 'before 4', 'before 6'] as const;
export type Lane = (typeof LANES)[number];
export type Tallies = Record<Lane, Tally>;

export type PollerOrder =
  | { readonly kind: 'tallies'; readonly id: number }
  | { readonly kind: 'try'; readonly id: number; readonly host: string; readonly port: number };
export interface PollerReply {
  readonly id: number;
  readonly tallies?: Tallies;
  readonly outcome?: string;
}

/** A process in a pod that asks for the role and for the node's credentials every ten milliseconds on each lane. */
export interface PodPoller {
  tallies(): Promise<Tallies>;
  /** One request to any address and port: a status, a code, or `reached` for an answer of the real metadata service. */
  try(host: string, port: number): Promise<string>;
  stop(): Promise<void>;
}

/** Starts polling behind a command prefix, such as `ip netns exec <namespace>`. */
export function startPodPoller(exec: readonly string[], environment: Readonly<Record<string, string>>): PodPoller {
  const program = fileURLToPath(new URL('pod-poller-process.ts', import.meta.url));
  const child = startChild({
    name: 'poller',
    argv: [...exec, process.execPath, program],
    environment,
    channel: true,
  });
  const waiting = new Map<number, { resolve: (reply: PollerReply) => void; reject: (error: Error) => void }>();
  child.process.on('message', (message) => {
    const reply = message as PollerReply;
    waiting.get(reply.id)?.resolve(reply);
    waiting.delete(reply.id);
  });
  void child.exited.then(() => {
    for (const { reject } of waiting.values()) reject(new Error(`the poller ended: ${child.lines.join('\n')}`));
  });
  let count = 0;
  const ask = (order: { kind: 'tallies' } | { kind: 'try'; host: string; port: number }): Promise<PollerReply> => {
    count += 1;
    const id = count;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      child.process.send({ ...order, id } satisfies PollerOrder);
    });
  };
  return {
    tallies: async () => (await ask({ kind: 'tallies' })).tallies as Tallies,
    try: async (host, port) => (await ask({ kind: 'try', host, port })).outcome ?? '',
    stop: async () => {
      await child.stop('SIGKILL');
    },
  };
}
