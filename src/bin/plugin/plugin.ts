import { systemClock } from '#runtime/clock.ts';

import { main } from '../main.ts';
import { processScreen, showStatus } from '../status-screen.ts';
import { printWhois, runWhois } from '../whois.ts';
import { readAgentLogs } from './agent-logs.ts';
import { printExplanation, statusOfServers, whoisOfServers } from './asked-servers.ts';
import { execute } from './executed.ts';
import { findPods, type Fleet } from './kiam-pods.ts';
import { createKubectl } from './kubectl.ts';
import { PLUGIN_HELP, readPluginArguments } from './plugin-arguments.ts';

/** Commands that run in pods: their flags are checked there, where the files are that they name. */
const EXECUTED: readonly string[] = ['doctor', 'health', 'export', 'policy'];

/** `kubectl kiam`: runs a command of `kiam` against a cluster, and sets the exit code. */
export async function runPlugin(argv: readonly string[]): Promise<void> {
  const read = readPluginArguments(argv);
  if (typeof read === 'string') {
    process.stderr.write(`kiam: error: ${read}\n`);
    process.exitCode = 1;
    return undefined;
  }
  const { connection, command } = read;
  const [name = 'help', ...rest] = command;
  const asksHelp = ['help', '--help'].includes(name) || rest.includes('--help');
  if (asksHelp && rest.length === 0) {
    process.stdout.write(`${PLUGIN_HELP}\n`);
    return undefined;
  }
  const kubectl = createKubectl(process.env['KUBECTL'] ?? 'kubectl', connection);
  const fleet: Fleet = { kubectl, find: () => findPods(kubectl, read) };
  const run = (): Promise<void> => execute(command, fleet);
  if (EXECUTED.includes(name) && !asksHelp) return run();
  return main(
    {
      status: async ({ flags }) => {
        const { signal } = new AbortController();
        const ask = () => statusOfServers(flags, fleet);
        const isAnswered = await showStatus(flags, { ask, screen: processScreen(), clock: systemClock, signal });
        process.exitCode = isAnswered ? 0 : 1;
      },
      explain: ({ flags }) => printExplanation(flags, fleet),
      whois: ({ flags }) =>
        // Files that are named are here.
        rest.some((word) => word.startsWith('--log'))
          ? runWhois({ flags })
          : printWhois(flags, {
              readLogs: (onLine) => readAgentLogs(fleet, onLine),
              askServers: (isServed) => whoisOfServers(flags, fleet, isServed),
            }),
      pki: async (asked) => (await import('../pki.ts')).runPki(asked),
      health: run,
      export: run,
      policy: run,
      doctor: { server: run, agent: run, cluster: run },
    },
    [...command],
  );
}
