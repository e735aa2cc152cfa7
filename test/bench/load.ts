import { fileURLToPath } from 'node:url';

import { type Child, startChild } from '#sandbox/child.ts';

import type { Job, LoadMessage, LoadResult } from './messages.ts';
import { cpuMs } from './process-figures.ts';

export interface Measured extends LoadResult {
  /** CPU time used in the measured part, in microseconds a request, by the names of `watch`. */
  readonly cpuUsPerRequest: Readonly<Record<string, number>>;
  /** How much of one core the generator itself used: near 1 it is the generator that limits the rate. */
  readonly generatorCores: number;
}

export interface LoadGenerator {
  readonly pid: number;
  /** `watch`: process ids by name, whose CPU time is read at the beginning and at the end. */
  run(
    job: Partial<Job> & Pick<Job, 'port' | 'path'>,
    watch?: Readonly<Record<string, number>>,
    onBegun?: () => void,
  ): Promise<Measured>;
  stop(): Promise<unknown>;
}

const DEFAULTS: Omit<Job, 'port' | 'path'> = {
  kind: 'closed',
  host: '127.0.0.1',
  headers: 'Host: 169.254.169.254\r\n',
  from: ['127.0.0.1'],
  connections: 64,
  warmUpMs: 500,
  durationMs: 2000,
  requestsPerSecond: 1000,
};

/** `place`: words before its command that put it into a network namespace. */
export function startLoadGenerator(
  environment: Readonly<Record<string, string>>,
  place: readonly string[] = [],
): LoadGenerator {
  const child = startChild({
    name: 'load generator',
    argv: [...place, process.execPath, fileURLToPath(new URL('load-process.ts', import.meta.url))],
    environment,
    channel: true,
  });
  const pid = child.process.pid ?? 0;
  return {
    pid,
    run: (job, watch = {}, onBegun = () => {}) =>
      measure(child, { ...DEFAULTS, ...job }, { ...watch, generator: pid }, onBegun),
    stop: () => child.stop('SIGKILL'),
  };
}

function measure(
  child: Child,
  job: Job,
  watch: Readonly<Record<string, number>>,
  onBegun: () => void,
): Promise<Measured> {
  return new Promise((resolve, reject) => {
    const entries = Object.entries(watch);
    let before = new Map<string, number>();
    let beganMs = 0;
    const read = (): Map<string, number> => new Map(entries.map(([name, pid]) => [name, cpuMs(pid)]));
    const onMessage = (message: LoadMessage): void => {
      if (message.type === 'begun') {
        before = read();
        beganMs = performance.now();
        onBegun();
        return;
      }
      child.process.off('message', onMessage);
      const after = read();
      const tookMs = performance.now() - beganMs;
      const requests = (message.result.requestsPerSecond * tookMs) / 1000;
      const usedMs = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0);
      resolve({
        ...message.result,
        cpuUsPerRequest: Object.fromEntries(entries.map(([name]) => [name, (usedMs(name) * 1000) / requests])),
        generatorCores: usedMs('generator') / tookMs,
      });
    };
    child.process.on('message', onMessage);
    child.process.send(job, (error) => {
      if (error !== null) reject(error);
    });
  });
}
