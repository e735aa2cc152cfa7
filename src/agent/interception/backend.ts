import { type CommandOutcome, explainOutcome, type RunCommand } from './command.ts';
import { METADATA_ADDRESSES } from './desired-rules.ts';

/** The two interfaces to the kernel's packet filter. Both take effect at the same time; other tools look only at their own. */
export type BackendKind = 'nft' | 'legacy';

export interface Backend {
  readonly kind: BackendKind;
  /** `iptables-nft`, `iptables-legacy`, or plain `iptables` where only that is installed. The IPv6 form begins with `ip6`. */
  readonly command: string;
}

export type BackendResult =
  | { readonly ok: true; readonly backend: Backend }
  | { readonly ok: false; readonly reason: string };

export interface BackendQuestion {
  readonly run: RunCommand;
  readonly signal: AbortSignal;
  /** What was found before: it stays unless there is evidence for the other. */
  readonly current?: BackendKind | undefined;
}

/**
 * The kubelet makes one of these in the mangle table of the backend that it uses (kubernetes,
 * pkg/kubelet/kubelet_network_linux.go).
 */
const KUBELET_CHAINS = /^:(?:KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY)\s/m;

const TIMEOUT_MS = 8000;

/**
 * Finds the backend that the node's other tools use, by the order of kubernetes-sigs/iptables-wrappers: the one with the
 * kubelet's chains; else the one with more rules; else whatever plain `iptables` is. Our own rules count for neither.
 */
export async function findBackend({ run, signal, current }: BackendQuestion): Promise<BackendResult> {
  const read = (command: string, ...args: string[]): Promise<CommandOutcome> =>
    run(command, args, { timeoutMs: TIMEOUT_MS, signal });
  // Asking iptables-legacy-save for a table by name would load that table's module; without one it prints those in use.
  const nft = await read('iptables-nft-save', '-t', 'mangle');
  const legacy = await read('iptables-legacy-save');
  const available: Record<BackendKind, boolean> = { nft: worked(nft), legacy: worked(legacy) };
  if (holdsKubeletChains(nft) || holdsKubeletChains(await read('ip6tables-nft-save', '-t', 'mangle')))
    return found('nft');
  if (holdsKubeletChains(legacy) || holdsKubeletChains(await read('ip6tables-legacy-save'))) return found('legacy');
  if (available.nft && available.legacy) {
    const nftRules = countRules(await read('iptables-nft-save'));
    const legacyRules = countRules(legacy);
    if (nftRules !== legacyRules) return found(nftRules > legacyRules ? 'nft' : 'legacy');
  }
  if (current !== undefined && available[current]) return found(current);
  const version = await read('iptables', '-V');
  if (version.kind === 'exited' && version.exitCode === 0) {
    // Versions before 1.8 knew one backend and name none.
    const kind = version.stdout.includes('nf_tables') ? 'nft' : 'legacy';
    return available[kind] ? found(kind) : { ok: true, backend: { kind, command: 'iptables' } };
  }
  if (available.nft) return found('nft');
  return available.legacy ? found('legacy') : { ok: false, reason: explainOutcome('iptables', version) };
}

function found(kind: BackendKind): BackendResult {
  return { ok: true, backend: { kind, command: `iptables-${kind}` } };
}

function worked(outcome: CommandOutcome): boolean {
  return outcome.kind === 'exited' && outcome.exitCode === 0;
}

function holdsKubeletChains(outcome: CommandOutcome): boolean {
  return outcome.kind === 'exited' && KUBELET_CHAINS.test(outcome.stdout);
}

function countRules(outcome: CommandOutcome): number {
  if (outcome.kind !== 'exited') return 0;
  const rules = outcome.stdout.split('\n').filter((line) => line.startsWith('-A '));
  return rules.filter((line) => !line.includes(` ${METADATA_ADDRESSES.ipv4}/`)).length;
}
