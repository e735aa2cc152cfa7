import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';

import { drain } from '#bin/drain.ts';
import { systemClock } from '#runtime/clock.ts';

const CLIENTS = 20;

/** Connects many clients, says so at `connected[0]`, and then tells what has become of their requests. */
const ASK = `
  const { connect } = require('node:net');
  const { parentPort, workerData: { port, clients, connected } } = require('node:worker_threads');
  const ends = [];
  for (let client = 0; client < clients; client += 1) {
    let end = 'nothing';
    const socket = connect(port, '127.0.0.1', () => {
      socket.write('GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n');
      if (Atomics.add(connected, 0, 1) + 1 === clients) Atomics.notify(connected, 0);
    });
    socket.on('data', (data) => { end = String(data).split('\\r\\n')[0]; });
    socket.on('error', (error) => { end = error.code; });
    socket.on('close', () => { if (ends.push(end) === clients) parentPort.postMessage(ends); });
  }`;

describe('drain', () => {
  it('drain answers every connection that the kernel has accepted for a loop that was busy', async (t) => {
    const { server, port } = await startServer(t);
    const connected = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(ASK, { eval: true, workerData: { port, clients: CLIENTS, connected } });
    const ends = new Promise<readonly string[]>((resolve) => {
      worker.once('message', resolve);
    });
    await new Promise((resolve) => {
      worker.once('online', resolve);
    });
    // Nothing else runs in this thread until all of them are in the kernel's queue.
    while (Atomics.load(connected, 0) < CLIENTS) Atomics.wait(connected, 0, Atomics.load(connected, 0), 10_000);
    await drain(server, systemClock);
    assert.deepEqual(
      await ends,
      Array.from({ length: CLIENTS }, () => 'HTTP/1.1 200 OK'),
    );
  });

  it('drain ends although clients never stop coming', async (t) => {
    const { server, port } = await startServer(t);
    const done = new AbortController();
    // Each connection that is accepted brings the next one.
    server.on('connection', () => {
      if (!done.signal.aborted)
        void fetch(`http://127.0.0.1:${port}/`).then(
          (answer) => answer.text(),
          () => undefined,
        );
    });
    await fetch(`http://127.0.0.1:${port}/`);
    await drain(server, systemClock);
    done.abort();
    assert.equal(server.listening, false);
  });
});

async function startServer(t: TestContext): Promise<{ server: Server; port: number }> {
  const server = createServer((_request, response) => response.end('answer'));
  t.after(() => server.closeAllConnections());
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  return { server, port: typeof address === 'object' && address !== null ? address.port : 0 };
}
