import { explainOutcome, type RunCommand } from './command.ts';
import { type Family, METADATA_ADDRESSES } from './desired-rules.ts';

/**
 * Makes the kernel forget connections to the metadata service, so that those opened before the rules meet them with their
 * next packet (conntrack(8)): the direct ones, or all, also those that an older rule sends to an agent that is gone. The
 * guard rejects direct ones without it. Those that the redirect has sent here are spared where that is possible: an answer
 * in progress would no longer find its pod. Returns what went wrong; undefined when it worked, or where the tool is not
 * installed.
 */
export async function forgetConnections(
  which: 'direct' | 'all',
  { family, run, signal }: { readonly family: Family; readonly run: RunCommand; readonly signal: AbortSignal },
): Promise<string | undefined> {
  const address = METADATA_ADDRESSES[family];
  // Answers to a connection that was not redirected come from the address that it was opened to.
  const direct = which === 'direct' ? ['-r', address] : [];
  const args = ['-D', '-f', family, '-d', address, ...direct];
  const outcome = await run('conntrack', args, { timeoutMs: 5000, signal });
  if (outcome.kind === 'not found') return undefined;
  // It also exits with 1 when there was nothing to delete.
  const isDone = outcome.kind === 'exited' && (outcome.exitCode === 0 || outcome.stderr.includes('0 flow entries'));
  return isDone ? undefined : explainOutcome('conntrack', outcome);
}
