import { runCommand } from '#sandbox/network/commands.ts';

/** An agent takes the lock of iptables every two to three seconds, and a command that does not wait for it fails. */
const WAITS = /^ip6?tables(-nft|-legacy)?$/;

/**
 * Runs commands behind a prefix, such as `ip netns exec <namespace>`, and returns their output; throws with what they said. One
 * of iptables waits up to five seconds for the lock.
 */
export function commandsOn(prefix: readonly string[]): (...argv: readonly string[]) => Promise<string> {
  return async (program = '', ...args) => {
    const wait = WAITS.test(program) ? ['-w', '5'] : [];
    const outcome = await runCommand([...prefix, program, ...wait, ...args]);
    if (!outcome.ok) throw new Error(outcome.reason);
    return outcome.output;
  };
}
