import { type Child, startChild } from '../child.ts';
import type { StageDaemon } from './stage.ts';

export interface DaemonStart {
  readonly name: string;
  /** Everything up to the daemon's own flags. */
  readonly argv: readonly string[];
  readonly flags: readonly string[];
  /** How it is told to log in JSON and to serve metrics at a port of its own; default as for agent and server. */
  readonly common?: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** The line that says that it serves. */
  readonly serving: RegExp;
}

const COMMON = ['--json-log', '--prometheus-listen-addr=127.0.0.1:0'];
/** Those of kube2iam. */
export const KUBE2IAM_COMMON = ['--log-format=json', '--metrics-port=0', '--namespace-restrictions', '--node=node-1'];

/** The daemons of a stage: each starts as a process of its own, and all end with it. */
export class StageDaemons {
  readonly #children = new Set<Child>();

  async start({ name, argv, flags, environment, serving, common = COMMON }: DaemonStart): Promise<StageDaemon> {
    const child = startChild({
      name,
      argv: [...argv, name, ...common, ...flags],
      environment,
    });
    this.#children.add(child);
    void child.exited.then(() => this.#children.delete(child));
    const metricsPort = portOf(await child.line(/"msg":"metrics: listening"/));
    await child.line(serving);
    return { child, metricsUrl: `http://127.0.0.1:${metricsPort}` };
  }

  /** Ends the daemons of a name with SIGKILL. */
  async kill(name: string): Promise<void> {
    const named = [...this.#children].filter((child) => child.name === name);
    await Promise.all(named.map((child) => child.stop('SIGKILL')));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.stop()));
  }

  stopSync(): void {
    for (const child of this.#children) child.process.kill('SIGKILL');
  }
}

/** The port in a line of the log that names an address. */
export function portOf(line: string): number {
  return Number(/"address":"[^"]*:(\d+)"/.exec(line)?.[1]);
}
