import { createSlots } from '#runtime/slots.ts';

import type { WhoisSources } from '../whois.ts';
import { fail } from './executed.ts';
import type { Fleet, KiamPod } from './kiam-pods.ts';

const MOST_AT_ONCE = 8;
const READ_LIMIT_MS = 600_000;

/**
 * Reads what the agents that run have written, several at a time, and says which logs cannot be read. Throws where no pod is
 * found.
 */
export async function readAgentLogs(
  { kubectl, find }: Fleet,
  onLine: Parameters<WhoisSources['readLogs']>[0],
): Promise<void> {
  const found = await find();
  if (typeof found === 'string') throw new Error(found);
  const slots = createSlots(MOST_AT_ONCE);
  const signal = AbortSignal.timeout(READ_LIMIT_MS);
  const read = async ({ target, text }: KiamPod): Promise<void> => {
    const { code, problem } = await kubectl(['logs', ...target], { signal, onLine });
    if (code !== 0) fail(`the log of ${text} cannot be read: ${problem}`);
  };
  await Promise.all(found.agents.map((pod) => slots.run(() => read(pod))));
}
