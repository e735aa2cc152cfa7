import { spawn } from 'node:child_process';
import { at, type Json, listAt, textAt } from '../json.ts';
import { type Command, textsOf } from './container.ts';

export interface Probe {
  readonly initialDelayMs: number;
  readonly periodMs: number;
  readonly failureThreshold: number;
  readonly command: Command;
}

/** Fetches a URL once: exit code 0 for what a kubelet takes for success. */
const FETCH = `fetch(process.argv[1]).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))`;

/** A container's readiness probe as a command to run beside it; undefined when it has none. */
export function readinessProbe(
  container: Json,
  options: {
    /** The interpreter. */
    readonly node: readonly string[];
    /** Runs a program in the pod's network. */
    readonly exec: readonly string[];
    readonly address: string;
    /** Makes a container's command out of its words. */
    readonly commandOf: (words: readonly string[]) => Command;
  },
): Probe | undefined {
  const probe = at(container, 'readinessProbe');
  if (probe === undefined) return undefined;
  const number = (field: string, otherwise: number): number => Number(at(probe, field) ?? otherwise);
  const timing = {
    initialDelayMs: number('initialDelaySeconds', 0) * 1000,
    periodMs: number('periodSeconds', 10) * 1000,
    failureThreshold: number('failureThreshold', 3),
  };
  const words = textsOf(listAt(probe, 'exec', 'command'));
  // The first word is the program of the image itself.
  if (words.length > 0) return { ...timing, command: options.commandOf(words.slice(1)) };
  const url = `http://${options.address}:${portOf(container, probe)}${textAt(probe, 'httpGet', 'path')}`;
  return { ...timing, command: { argv: [...options.exec, ...options.node, '-e', FETCH, url], environment: {} } };
}

function portOf(container: Json, probe: Json): number {
  const wanted = at(probe, 'httpGet', 'port');
  const named = listAt(container, 'ports').find((port) => textAt(port, 'name') === wanted);
  return Number(at(named, 'containerPort') ?? wanted);
}

/** Whether the probe succeeds now. Never rejects. */
export function succeeds({ argv, environment }: Command): Promise<boolean> {
  const [program = '', ...args] = argv;
  return new Promise((resolve) => {
    const child = spawn(program, args, { env: environment, stdio: 'ignore', timeout: 10_000 });
    child.on('error', () => resolve(false));
    child.on('close', (code) => resolve(code === 0));
  });
}
