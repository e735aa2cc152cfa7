// Runs inside a network namespace and does what its parent asks: one JSON request per line in, one answer per line out.
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

import type { ProbeAnswer, ProbeRequest } from './network-probe.ts';

const sockets = new Map<string, Socket>();

async function answer(request: ProbeRequest): Promise<ProbeAnswer> {
  if (request.kind === 'listen') return listen(request.host, request.port, request.body);
  if (request.kind === 'get') return fetchOnce(request.host, request.port, request.timeoutMs);
  if (request.kind === 'open') return open(request.connection, request.host, request.port, request.timeoutMs);
  return send(request.connection, request.timeoutMs);
}

async function listen(host: string, port: number, body: string): Promise<ProbeAnswer> {
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    response.end(`${body} for ${request.socket.remoteAddress ?? ''}`);
  });
  server.listen(port, host);
  await once(server, 'listening');
  return { ok: true, body: '' };
}

function fetchOnce(host: string, port: number, timeoutMs: number): Promise<ProbeAnswer> {
  return new Promise((resolve) => {
    const request = get({ host, port, agent: false, timeout: timeoutMs }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ ok: true, body }));
    });
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', (error) => resolve({ ok: false, error: codeOf(error) }));
  });
}

function open(connection: string, host: string, port: number, timeoutMs: number): Promise<ProbeAnswer> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    socket.on('connect', () => {
      sockets.set(connection, socket);
      resolve({ ok: true, body: '' });
    });
    socket.on('timeout', () => resolve({ ok: false, error: 'timeout' }));
    socket.on('error', (error) => resolve({ ok: false, error: codeOf(error) }));
  });
}

function send(connection: string, timeoutMs: number): Promise<ProbeAnswer> {
  const socket = sockets.get(connection);
  if (socket === undefined || socket.destroyed) return Promise.resolve({ ok: false, error: 'closed' });
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ ok: false, error: 'timeout' }), timeoutMs);
    const finish = (result: ProbeAnswer): void => {
      clearTimeout(timer);
      resolve(result);
    };
    socket.once('data', (chunk) => finish({ ok: true, body: chunk.toString('utf8').split('\r\n\r\n')[1] ?? '' }));
    socket.once('error', (error) => finish({ ok: false, error: codeOf(error) }));
    socket.once('close', () => finish({ ok: false, error: 'closed' }));
    socket.write('GET / HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n');
  });
}

function codeOf(error: NodeJS.ErrnoException): string {
  return error.code ?? error.message;
}

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const { id, request } = JSON.parse(line) as { id: number; request: ProbeRequest };
  void answer(request).then((result) => process.stdout.write(`${JSON.stringify({ id, result })}\n`));
}
process.exit(0);
