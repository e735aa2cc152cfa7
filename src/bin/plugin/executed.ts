import { createSlots } from '#runtime/slots.ts';
import { forTerminal } from '#runtime/text.ts';

import type { Fleet, KiamPod, PodsFound } from './kiam-pods.ts';
import type { Kubectl, Ran } from './kubectl.ts';

/** Long, because a doctor that asks STS for every role is slow. */
const RUN_LIMIT_MS = 300_000;

/** Pods at a time: each is a connection through the API server. */
const MOST_AT_ONCE = 8;

/** Runs `kiam` in a pod. Never rejects. */
export function runInPod(
  kubectl: Kubectl,
  { target }: KiamPod,
  args: readonly string[],
  limitMs = RUN_LIMIT_MS,
): Promise<Ran> {
  return kubectl(['exec', ...target, '--', '/kiam', ...args], { signal: AbortSignal.timeout(limitMs) });
}

/** Runs the command in its pods and prints their output. Exits 1 if any of them fails. */
export async function execute(command: readonly string[], { kubectl, find }: Fleet): Promise<void> {
  const found = await find();
  if (typeof found === 'string') return fail(found);
  const { pods, args, isAlone } = placesOf(command, found);
  if (pods.length === 0) return fail('none of the pods that it would run in is running');
  const slots = createSlots(MOST_AT_ONCE);
  const runs = pods.map((pod) => slots.run(() => runInPod(kubectl, pod, args)));
  for (const [index, pod] of pods.entries()) {
    const ran = await runs[index];
    if (ran === undefined) continue;
    if (!isAlone) process.stdout.write(`${index === 0 ? '' : '\n'}== ${pod.text}\n`);
    process.stdout.write(isAlone ? ran.output : forTerminal(ran.output));
    if (ran.code !== 0) fail(`${pod.text}: ${ran.problem}`);
  }
}

interface Places {
  readonly pods: readonly KiamPod[];
  readonly args: readonly string[];
  /** Its output is a document of its own. */
  readonly isAlone: boolean;
}

/** Export and policy read the cluster, so one server is enough; a doctor checks the pod that it runs in. */
function placesOf(command: readonly string[], { servers, agents }: PodsFound): Places {
  const [name = '', target = '', ...rest] = command;
  if (name === 'doctor' && target === 'agent') return { pods: agents, args: [name, ...rest], isAlone: false };
  // In a daemon's container the doctor takes the daemon's flags, where no target is named.
  if (name === 'doctor' && target === 'server') return { pods: servers, args: [name, ...rest], isAlone: false };
  const isOne = name !== 'health' && (name !== 'doctor' || target === 'cluster');
  return isOne
    ? { pods: servers.slice(0, 1), args: command, isAlone: true }
    : { pods: servers, args: command, isAlone: false };
}

export function fail(reason: string): void {
  process.stderr.write(`kiam: ${forTerminal(reason)}\n`);
  process.exitCode = 1;
}
