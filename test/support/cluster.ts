import { mkdtemp, rm } from 'node:fs/promises';
import { type Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { type Child, startChild } from '#sandbox/child.ts';
import { startWorld, type World, type WorldOptions } from '#sandbox/world.ts';

/** The program from its sources; how each daemon is started, up to its command. */
export const FROM_SOURCES: Programs = {
  server: [process.execPath, fileURLToPath(new URL('../../src/bin/kiam.ts', import.meta.url))],
  agent: [process.execPath, fileURLToPath(new URL('../../src/bin/kiam.ts', import.meta.url))],
};

export interface Programs {
  readonly server: readonly string[];
  readonly agent: readonly string[];
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  readonly tookMs: number;
}

export interface Question {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Keeps connections open between questions; without it each has one of its own. */
  readonly connections?: Agent;
}

export interface Daemon {
  readonly child: Child;
  /** What it listens on: the agent for pods, the server for agents. */
  readonly port: number;
  /** The lines of its log, which is JSON, parsed. */
  log(): readonly Record<string, unknown>[];
  metrics(): Promise<string>;
  /** `/ready` of the metrics listener. */
  readiness(): Promise<Answer>;
}

export interface Cluster {
  readonly world: World;
  startServer(options?: DaemonOptions): Promise<Daemon>;
  /** An agent that asks the server at `serverPort`. */
  startAgent(serverPort: number, options?: DaemonOptions): Promise<Daemon>;
  /** Runs `kiam` with these arguments to its end. */
  run(args: readonly string[]): Promise<{ code: number | null; lines: readonly string[] }>;
  /** Flags that name the certificates of one side. */
  tlsFlags(side: 'server' | 'agent'): readonly string[];
  close(): Promise<void>;
}

export interface DaemonOptions {
  /** Further flags. */
  readonly flags?: readonly string[];
  /** All of its flags, in place of those that the harness gives; they must log JSON and serve metrics. */
  readonly exactly?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Resolve once the process runs, without waiting for it to listen: `port` is then 0. */
  readonly detached?: boolean;
}

/** A stand-in world and real daemons before it, as processes of their own on loopback addresses. */
export async function startCluster(
  options: Partial<WorldOptions> = {},
  programs: Programs = FROM_SOURCES,
): Promise<Cluster> {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-cluster-'));
  const world = await startWorld({ folder, path: process.env['PATH'] ?? '', ...options });
  const children: Child[] = [];
  const { ca, serverCertificate, serverKey, agentCertificate, agentKey } = world.certificates;

  const tlsFlags = (side: 'server' | 'agent'): readonly string[] => [
    `--cert=${side === 'server' ? serverCertificate : agentCertificate}`,
    `--key=${side === 'server' ? serverKey : agentKey}`,
    `--ca=${ca}`,
  ];

  const start = async (
    command: 'server' | 'agent',
    flags: readonly string[],
    environment: Readonly<Record<string, string>>,
    listening: RegExp,
    { flags: more = [], exactly, environment: extra = {}, detached = false }: DaemonOptions,
  ): Promise<Daemon> => {
    const child = startChild({
      name: command,
      argv: [
        ...programs[command],
        ...(exactly ?? [command, '--json-log', '--level=debug', '--prometheus-listen-addr=127.0.0.1:0', ...flags]),
        ...more,
      ],
      environment: { ...environment, ...extra },
    });
    children.push(child);
    const metricsPort = portOf(await child.line(/"msg":"metrics: listening"/));
    const ask = (path: string): Promise<Answer> => askHttp({ port: metricsPort, path });
    let renderedMs = Number.NEGATIVE_INFINITY;
    // The daemon gives the same text to all who ask within a second.
    const metrics = async (): Promise<string> => {
      const waitMs = renderedMs + 1100 - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      const { body } = await ask('/metrics');
      renderedMs = performance.now();
      return body;
    };
    return {
      child,
      port: detached ? 0 : portOf(await child.line(listening)),
      log: () => child.lines.map(parseLine),
      metrics,
      readiness: () => ask('/ready'),
    };
  };

  return {
    world,
    startServer: (daemon = {}) =>
      start(
        'server',
        [
          '--bind=127.0.0.1:0',
          '--status-port=0',
          `--kubeconfig=${world.kubeconfigs.server}`,
          `--role-base-arn=${world.roleBaseArn}`,
          ...tlsFlags('server'),
        ],
        world.environment.server,
        /"msg":"will serve on"/,
        daemon,
      ),
    startAgent: (serverPort, daemon = {}) =>
      start(
        'agent',
        [
          '--port=0',
          '--host=127.0.0.1',
          `--server-address=localhost:${serverPort}`,
          `--metadata-endpoint=${world.metadata.url}`,
          ...tlsFlags('agent'),
        ],
        world.environment.clean,
        /"msg":"listening"/,
        daemon,
      ),
    run: async (args) => {
      const child = startChild({
        name: 'kiam',
        argv: [...programs.agent, ...args],
        environment: world.environment.clean,
      });
      children.push(child);
      const { code } = await child.exited;
      return { code, lines: child.lines };
    },
    tlsFlags,
    close: async () => {
      await Promise.all(children.map((child) => child.stop('SIGKILL')));
      await world.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** One request to a port of this machine, from the address of a pod. Rejects when the connection breaks. */
export function askHttp(options: { port: number; path: string; from?: string } & Question): Promise<Answer> {
  const { port, path, from = '127.0.0.1', method = 'GET', headers = {}, body, connections: agent = false } = options;
  const startedMs = performance.now();
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, path, method, headers, localAddress: from, agent });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => {
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body: Buffer.concat(chunks).toString('utf8'),
          tookMs: performance.now() - startedMs,
        });
      });
    });
    outgoing.end(body);
  });
}

export const LISTING = '/latest/meta-data/iam/security-credentials/';

function parseLine(line: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(line);
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : { line };
  } catch {
    return { line };
  }
}

function portOf(line: string): number {
  return Number(/:(\d+)"/.exec(String(parseLine(line)['address']) + '"')?.[1]);
}
