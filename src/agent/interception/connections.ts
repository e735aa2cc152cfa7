import { explainOutcome, type RunCommand } from './command.ts';
import { type Family, METADATA_ADDRESSES } from './wanted.ts';

/**
 * Makes the kernel forget the connections to the metadata service, so that those opened before the rules meet them with
 * their next packet (conntrack(8)). The guard rejects them without it; this also covers those that an older rule sends to
 * an agent that is gone. Returns what went wrong; undefined when it worked, or where the tool is not installed.
 */
export async function forgetConnections(
  family: Family,
  run: RunCommand,
  signal: AbortSignal,
): Promise<string | undefined> {
  const args = ['-D', '-f', family, '-d', METADATA_ADDRESSES[family]];
  const outcome = await run('conntrack', args, { timeoutMs: 5000, signal });
  if (outcome.kind === 'not found') return undefined;
  // It also exits with 1 when there was nothing to delete.
  const isDone = outcome.kind === 'exited' && (outcome.exitCode === 0 || outcome.stderr.includes('0 flow entries'));
  return isDone ? undefined : explainOutcome('conntrack', outcome);
}
