import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { type Child, startChild } from '#sandbox/child.ts';
import { startWorld, type World } from '#sandbox/world.ts';

import type { Bundles } from './bundles.ts';
import { type LoadGenerator, startLoadGenerator } from './load.ts';

/** A process under measurement. */
export interface Measurable {
  readonly pid: number;
  readonly port: number;
  stop(): Promise<unknown>;
}

export interface Daemon extends Measurable {
  readonly metricsPort: number;
}

export type BaselineKind = 'node' | 'fastify' | 'memory';

/** A world of its own, and everything that can be started in it. */
export interface Place {
  readonly world: World;
  startServer(flags?: readonly string[]): Promise<Daemon>;
  startAgent(server: Pick<Daemon, 'port'>, flags?: readonly string[]): Promise<Daemon>;
  /** `kiam kube2iam` for the pods of node-1. */
  startKube2iam(): Promise<Daemon>;
  startBaseline(kind: BaselineKind, path: string, body: string): Promise<Measurable>;
  startLoad(): LoadGenerator;
  /** The Kubernetes part of the server alone, under the bundle's options of Node. */
  startPods(): Child;
  close(): Promise<void>;
}

export const LISTING = '/latest/meta-data/iam/security-credentials/';

/** For the agent: no pod meets a limit. */
export const NO_LIMITS = ['--pod-concurrency=0', '--pod-rate=0'];

export async function openPlace(bundles: Bundles): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-bench-'));
  const world = await startWorld({ folder, path: process.env['PATH'] ?? '' });
  world.namespace('team', `${world.roleBaseArn}.*`);
  const stops: (() => Promise<unknown>)[] = [];
  const { ca, serverCertificate, serverKey, agentCertificate, agentKey } = world.certificates;

  const startNode = (name: string, argv: readonly string[], environment: Readonly<Record<string, string>>): Child => {
    const child = startChild({ name, argv, environment });
    stops.push(() => child.stop('SIGKILL'));
    return child;
  };
  const startDaemon = async (
    name: 'agent' | 'server',
    flags: readonly string[],
    listening: RegExp,
  ): Promise<Daemon> => {
    const common = [name, '--json-log', '--prometheus-listen-addr=127.0.0.1:0', `--ca=${ca}`];
    const environment = name === 'server' ? world.environment.server : world.environment.clean;
    const { node, file } = bundles[name];
    const child = startNode(name, [...node, file, ...common, ...flags], environment);
    const metricsPort = portOf(await child.line(/"msg":"metrics: listening"/));
    const port = portOf(await child.line(listening));
    return { pid: child.process.pid ?? 0, port, metricsPort, stop: () => child.stop() };
  };

  return {
    world,
    startServer: (flags = []) =>
      startDaemon(
        'server',
        [
          '--bind=127.0.0.1:0',
          `--kubeconfig=${world.kubeconfigs.server}`,
          `--role-base-arn=${world.roleBaseArn}`,
          `--cert=${serverCertificate}`,
          `--key=${serverKey}`,
          ...flags,
        ],
        /"msg":"will serve on"/,
      ),
    startAgent: (server, flags = []) =>
      startDaemon(
        'agent',
        [
          '--port=0',
          '--host=127.0.0.1',
          `--server-address=localhost:${server.port}`,
          `--metadata-endpoint=${world.metadata.url}`,
          `--cert=${agentCertificate}`,
          `--key=${agentKey}`,
          ...flags,
        ],
        /"msg":"listening"/,
      ),
    startKube2iam: async () => {
      const { node, file } = bundles.kube2iam;
      const flags = [
        '--log-format=json',
        '--app-port=0',
        '--metrics-port=0',
        '--node=node-1',
        ...NO_LIMITS,
        `--kubeconfig=${world.kubeconfigs.server}`,
        `--base-role-arn=${world.roleBaseArn}`,
        `--metadata-addr=${new URL(world.metadata.url).host}`,
      ];
      const child = startNode('kube2iam', [...node, file, ...flags], world.environment.server);
      const metricsPort = portOf(await child.line(/"msg":"metrics: listening"/));
      const port = portOf(await child.line(/"msg":"listening"/));
      return { pid: child.process.pid ?? 0, port, metricsPort, stop: () => child.stop() };
    },
    startBaseline: async (kind, path, body) => {
      const program = kind === 'memory' ? ['agent-part-process.ts', body] : ['bare-process.mjs', kind, path, body];
      const [file = '', ...args] = program;
      const argv = [...bundles.agent.node, programOf(file), ...args];
      const child = startNode(kind, argv, world.environment.clean);
      const port = Number((await child.line(/^listening \d+/)).split(' ')[1]);
      return { pid: child.process.pid ?? 0, port, stop: () => child.stop('SIGKILL') };
    },
    startLoad: () => {
      const generator = startLoadGenerator(world.environment.clean);
      stops.push(() => generator.stop());
      return generator;
    },
    startPods: () => {
      const argv = [...bundles.server.node, '--expose-gc', programOf('pods-process.ts')];
      const child = startChild({
        name: 'pods',
        argv: [...argv, world.kubeconfigs.server],
        environment: world.environment.clean,
        channel: true,
      });
      stops.push(() => child.stop('SIGKILL'));
      return child;
    },
    close: async () => {
      await Promise.all(stops.map((stop) => stop()));
      await world.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function programOf(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}

function portOf(line: string): number {
  return Number(/"address":"[^"]*:(\d+)"/.exec(line)?.[1]);
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** One request on a connection of its own. A broken connection is status 0. */
export function ask(port: number, path: string, from = '127.0.0.1'): Promise<Answer> {
  return new Promise((resolve) => {
    const outgoing = request({ host: '127.0.0.1', port, path, localAddress: from, agent: false });
    outgoing.on('error', (error) => resolve({ status: 0, body: error.message }));
    outgoing.on('response', (incoming) => {
      let body = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => {
        body += chunk;
      });
      incoming.on('error', () => resolve({ status: 0, body }));
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body }));
    });
    outgoing.end();
  });
}

/** Asks until the answer is 200. */
export async function askUntilServed(port: number, path: string, from: string): Promise<string> {
  let last: Answer = { status: 0, body: '' };
  for (let attempt = 0; attempt < 20; attempt += 1) {
    last = await ask(port, path, from);
    if (last.status === 200) return last.body;
    await pause(100);
  }
  throw new Error(`no answer from ${path}: ${last.status} ${last.body}`);
}

export function pause(durationMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, durationMs);
  });
}
