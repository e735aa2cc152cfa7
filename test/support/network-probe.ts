import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export type ProbeRequest =
  | { readonly kind: 'listen'; readonly host: string; readonly port: number; readonly body: string }
  | { readonly kind: 'get'; readonly host: string; readonly port: number; readonly timeoutMs: number }
  | {
      readonly kind: 'open';
      readonly connection: string;
      readonly host: string;
      readonly port: number;
      readonly timeoutMs: number;
    }
  | { readonly kind: 'send'; readonly connection: string; readonly timeoutMs: number };

export type ProbeAnswer = { readonly ok: true; readonly body: string } | { readonly ok: false; readonly error: string };

/** A process inside a network namespace that listens, asks and holds connections for a test. */
export interface Probe {
  /** Serves `<body> for <peer address>` over HTTP until the probe stops. */
  listen(host: string, port: number, body: string): Promise<ProbeAnswer>;
  /** One request on a connection of its own. */
  get(host: string, port: number, timeoutMs?: number): Promise<ProbeAnswer>;
  /** Opens a connection and keeps it under a name. */
  open(connection: string, host: string, port: number, timeoutMs?: number): Promise<ProbeAnswer>;
  /** One request on a connection that is open. */
  send(connection: string, timeoutMs?: number): Promise<ProbeAnswer>;
  stop(): Promise<void>;
}

/** Starts a probe behind a command prefix, such as `ip netns exec <namespace>`. */
export async function startProbe(exec: readonly string[]): Promise<Probe> {
  const [command = '', ...prefix] = exec;
  const program = fileURLToPath(new URL('network-probe-process.ts', import.meta.url));
  const child = spawn(command, [...prefix, process.execPath, program], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  const waiting = new Map<number, (answer: ProbeAnswer) => void>();
  const lines = createInterface({ input: child.stdout });
  await once(lines, 'line');
  lines.on('line', (line) => {
    const { id, result } = JSON.parse(line) as { id: number; result: ProbeAnswer };
    waiting.get(id)?.(result);
    waiting.delete(id);
  });
  let count = 0;
  const ask = (request: ProbeRequest): Promise<ProbeAnswer> => {
    count += 1;
    const id = count;
    child.stdin.write(`${JSON.stringify({ id, request })}\n`);
    return new Promise((resolve) => {
      waiting.set(id, resolve);
    });
  };
  return {
    listen: (host, port, body) => ask({ kind: 'listen', host, port, body }),
    get: (host, port, timeoutMs = 1000) => ask({ kind: 'get', host, port, timeoutMs }),
    open: (connection, host, port, timeoutMs = 1000) => ask({ kind: 'open', connection, host, port, timeoutMs }),
    send: (connection, timeoutMs = 1000) => ask({ kind: 'send', connection, timeoutMs }),
    stop: () => stop(child),
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
