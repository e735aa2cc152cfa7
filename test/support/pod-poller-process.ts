// Runs inside a pod's network namespace: raw connections to the metadata service, every ten milliseconds on each lane.
import { connect, type Socket } from 'node:net';

import { LANES, type Lane, type PollerOrder, type PollerReply, type Tallies, type Tally } from './pod-poller.ts';

const ADDRESSES = { '4': '169.254.169.254', '6': 'fd00:ec2::254' } as const;
const LISTING = '/latest/meta-data/iam/security-credentials/';
const PATHS = [LISTING, `${LISTING}node`] as const;
const INTERVAL_MS = 10;
/** An answer later than this is none: no SDK would wait for so long, and a hung agent gives none at all. */
const TIMEOUT_MS = 1000;
/** Connections at a time on a lane: an agent that hangs must not be the poller's end. */
const MOST_OPEN = 40;

const tallies = Object.fromEntries(
  LANES.map((lane) => [lane, { attempts: 0, reached: 0, outcomes: {} } satisfies Tally]),
) as unknown as Tallies;

/** One request on a connection, which stays open. Resolves with the outcome, and never rejects. */
function ask(socket: Socket, path: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const take = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      const [head = '', body] = text.split('\r\n\r\n');
      if (body === undefined || body.length < Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)) return;
      finish(/\r\nserver: EC2ws/i.test(head) ? 'reached' : (text.split(' ')[1] ?? ''));
    };
    const fail = (error: NodeJS.ErrnoException): void => finish(error.code ?? error.message);
    const close = (): void => finish('closed');
    const timer = setTimeout(() => {
      finish('timeout');
      socket.destroy();
    }, TIMEOUT_MS);
    const finish = (outcome: string): void => {
      clearTimeout(timer);
      socket.off('data', take).off('error', fail).off('close', close);
      resolve(outcome);
    };
    socket.on('data', take).on('error', fail).on('close', close);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n`);
  });
}

async function askOnce(host: string, port: number, path: string): Promise<string> {
  const socket = open(host, port);
  const outcome = await ask(socket, path);
  socket.destroy();
  return outcome;
}

function open(host: string, port: number): Socket {
  const socket = connect({ host, port });
  // Whoever asks listens as well; without anyone an error would end this process.
  socket.on('error', () => {});
  return socket;
}

function count(lane: Lane, outcome: string): void {
  const tally = tallies[lane];
  if (outcome === 'reached') tally.reached += 1;
  else tally.outcomes[outcome] = (tally.outcomes[outcome] ?? 0) + 1;
}

/** Makes what a lane does at each turn. */
function lane(name: Lane): (path: string) => void {
  const [kind, family] = name.split(' ') as ['new' | 'kept' | 'before', '4' | '6'];
  const host = ADDRESSES[family];
  let open_ = 0;
  let kept: Socket | undefined = kind === 'before' ? open(host, 80) : undefined;
  const start = (path: string): Promise<string> => {
    if (kind === 'new') return askOnce(host, 80, path);
    kept ??= open(host, 80);
    return ask(kept, path);
  };
  return (path) => {
    const isOver = kind === 'before' && kept?.destroyed === true;
    if (isOver || open_ >= (kind === 'new' ? MOST_OPEN : 1)) return;
    if (kept?.destroyed === true) kept = undefined;
    open_ += 1;
    tallies[name].attempts += 1;
    void start(path).then((outcome) => {
      open_ -= 1;
      count(name, outcome);
    });
  };
}

const lanes = LANES.map(lane);
let turn = 0;
setInterval(() => {
  turn += 1;
  for (const poll of lanes) poll(PATHS[turn % PATHS.length] ?? LISTING);
}, INTERVAL_MS);

process.on('message', (message) => {
  const order = message as PollerOrder;
  const reply = (answer: Omit<PollerReply, 'id'>): void => void process.send?.({ id: order.id, ...answer });
  if (order.kind === 'tallies') reply({ tallies });
  else void askOnce(order.host, order.port, LISTING).then((outcome) => reply({ outcome }));
});
process.on('disconnect', () => process.exit(0));
