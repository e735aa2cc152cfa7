// The load generator, a process of its own. Its parent sends jobs over the channel and gets a message when the measured part
// of a job begins, and one with the result.
import { connect, type Socket } from 'node:net';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

import { Histogram } from './histogram.ts';
import { LoadConnection } from './load-connection.ts';
import type { Job, LoadMessage, LoadResult } from './messages.ts';

function tell(message: LoadMessage): void {
  process.send?.(message);
}

function sleepMs(durationMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, durationMs);
  });
}

class Tally {
  readonly #statuses: Record<string, number> = {};
  readonly #latency = new Histogram();
  readonly #lateness = new Histogram();
  #count = 0;
  #beginMs = Number.POSITIVE_INFINITY;

  begin(): void {
    this.#beginMs = performance.now();
    tell({ type: 'begun' });
  }

  /** What was asked before the measured part began is left out. */
  add(status: number, askedMs: number, nowMs: number): void {
    if (askedMs < this.#beginMs) return;
    this.#count += 1;
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
    if (status === 200) this.#latency.add(nowMs - askedMs);
  }

  sent(lateMs: number, dueMs: number): void {
    if (dueMs >= this.#beginMs) this.#lateness.add(Math.max(0, lateMs));
  }

  result(): LoadResult {
    return {
      statuses: this.#statuses,
      requestsPerSecond: (this.#count * 1000) / (performance.now() - this.#beginMs),
      latency: this.#latency.summary(),
      lateness: this.#lateness.summary(),
    };
  }
}

async function openConnections(job: Job, onAnswer: (index: number, status: number) => void): Promise<LoadConnection[]> {
  const connections = Array.from(
    { length: job.connections },
    (_, index) =>
      new LoadConnection({
        port: job.port,
        path: job.path.replace('{connection}', String(index)),
        host: job.host,
        headers: job.headers,
        from: job.from[index % job.from.length] ?? '127.0.0.1',
        onAnswer: (status) => onAnswer(index, status),
      }),
  );
  await Promise.all(connections.map((connection) => connection.open()));
  return connections;
}

async function measure(job: Job, tally: Tally): Promise<LoadResult> {
  await sleepMs(job.warmUpMs);
  tally.begin();
  await sleepMs(job.durationMs);
  return tally.result();
}

async function runClosed(job: Job): Promise<LoadResult> {
  const tally = new Tally();
  const askedMs = new Float64Array(job.connections);
  const ask = (index: number): void => {
    askedMs[index] = performance.now();
    connections[index]?.ask();
  };
  const connections = await openConnections(job, (index, status) => {
    tally.add(status, askedMs[index] ?? 0, performance.now());
    ask(index);
  });
  for (const index of connections.keys()) ask(index);
  const result = await measure(job, tally);
  for (const connection of connections) connection.close();
  return result;
}

/** A request whose turn comes while all connections wait is asked when one is free, and timed from when it was due. */
async function runOpen(job: Job): Promise<LoadResult> {
  const tally = new Tally();
  const dueMs = new Float64Array(job.connections);
  const overdue: number[] = [];
  const free: number[] = [];
  const ask = (index: number, due: number): void => {
    dueMs[index] = due;
    connections[index]?.ask();
  };
  const connections = await openConnections(job, (index, status) => {
    tally.add(status, dueMs[index] ?? 0, performance.now());
    const due = overdue.shift();
    if (due === undefined) free.push(index);
    else ask(index, due);
  });
  free.push(...connections.keys());
  // Timers of the main thread tick in whole milliseconds: a second thread keeps the time and says when a request is due.
  const metronome = new Worker(new URL(import.meta.url), { workerData: { intervalMs: 1000 / job.requestsPerSecond } });
  metronome.on('message', (dueEpochMs: number) => {
    const due = dueEpochMs - performance.timeOrigin;
    tally.sent(performance.now() - due, due);
    const index = free.shift();
    if (index === undefined) overdue.push(due);
    else ask(index, due);
  });
  const result = await measure(job, tally);
  await metronome.terminate();
  for (const connection of connections) connection.close();
  return result;
}

/** Never returns. A beat that comes late, because the thread did not run, is told all the same. */
function keepTime(intervalMs: number): void {
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (let dueMs = performance.now() + intervalMs; ; dueMs += intervalMs) {
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) Atomics.wait(never, 0, 0, waitMs);
    parentPort?.postMessage(performance.timeOrigin + dueMs);
  }
}

/** Every connection asks once, all at the same time. */
async function runOnce(job: Job): Promise<LoadResult> {
  const tally = new Tally();
  let left = job.connections;
  let askedMs = 0;
  let finish = (): void => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const connections = await openConnections(job, (_index, status) => {
    tally.add(status, askedMs, performance.now());
    left -= 1;
    if (left === 0) finish();
  });
  tally.begin();
  askedMs = performance.now();
  for (const connection of connections) connection.ask();
  await Promise.race([finished, sleepMs(job.durationMs)]);
  const result = tally.result();
  for (const connection of connections) connection.close();
  return result;
}

/** Connections that never finish their requests; one that the server closes is opened again. */
async function runStall(job: Job): Promise<LoadResult> {
  const tally = new Tally();
  const sockets = new Set<Socket>();
  let stopped = false;
  const open = (index: number): void => {
    if (stopped) return;
    const from = job.from[index % job.from.length] ?? '127.0.0.1';
    const socket = connect({ host: job.host, port: job.port, localAddress: from });
    sockets.add(socket);
    socket.on('connect', () => socket.write(`GET ${job.path} HTTP/1.1\r\nHost: `));
    socket.on('error', () => {});
    socket.on('close', () => {
      tally.add(0, performance.now(), performance.now());
      sockets.delete(socket);
      setTimeout(() => open(index), 1000);
    });
  };
  for (let index = 0; index < job.connections; index += 1) open(index);
  const drip = setInterval(() => {
    for (const socket of sockets) if (socket.writable) socket.write('x');
  }, 1000);
  const result = await measure(job, tally);
  stopped = true;
  clearInterval(drip);
  for (const socket of sockets) socket.destroy();
  return result;
}

const RUN = { closed: runClosed, open: runOpen, once: runOnce, stall: runStall } as const;

if (isMainThread) {
  process.on('message', (job: Job) => {
    void RUN[job.kind](job).then((result) => tell({ type: 'done', result }));
  });
  process.on('disconnect', () => process.exit(0));
} else {
  const { intervalMs } = workerData as { intervalMs: number };
  keepTime(intervalMs);
}
