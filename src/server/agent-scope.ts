import { canonicalAddress } from '#domain/address.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { NodeIndex } from './node-index.ts';
import type { PodCache, TokenReview } from './ports.ts';

/** Which pods an agent may ask for. */
export type Scope =
  /** Those of its node, which is proven. */
  | { readonly kind: 'node'; readonly hostIp: string }
  /** All, as with Kiam: who it is cannot be told. */
  | { readonly kind: 'any' }
  | { readonly kind: 'refused' }
  /** It cannot be told at this moment. */
  | { readonly kind: 'unknown' };

export type AgentIdentityMode = 'off' | 'auto' | 'host-ip' | 'token';

/** What a call says of its caller. */
export interface Caller {
  /** The address and port that the connection comes from. */
  readonly peer: string;
  /** The service account token that came with the call; `''` for none. */
  readonly token: string;
  /** What it says its node's address is, where it says so. For people alone. */
  readonly hostIp?: string;
}

export interface AgentScopeOptions {
  /** `--agent-identity` */
  readonly mode: AgentIdentityMode;
  readonly index: Pick<NodeIndex, 'isNode'>;
  readonly pods: Pick<PodCache, 'find' | 'byUid'>;
  readonly reviewToken: (token: string, signal: AbortSignal) => Promise<TokenReview>;
  readonly logger: Logger;
  /** Counts calls whose caller's node is not known. */
  readonly unproven: { inc(labels: { address: string }): void };
}

/** How many addresses are warned about, each once. */
const MOST_WARNINGS = 1000;

/**
 * Holds an agent to the pods of its own node (docs/specification.md, 6): a stolen agent certificate is then worth one node's
 * roles and not the cluster's. An agent shares its node's address (hostNetwork), so the address that it calls from is
 * `status.hostIP` of its pods.
 */
export class AgentScope {
  readonly #options: AgentScopeOptions;
  readonly #warned = new Set<string>();

  constructor(options: AgentScopeOptions) {
    this.#options = options;
  }

  async of(caller: Caller, signal: AbortSignal): Promise<Scope> {
    const { mode } = this.#options;
    if (mode === 'off') return { kind: 'any' };
    return mode === 'token' ? this.#byToken(caller, signal) : this.#byAddress(caller, mode);
  }

  #byAddress({ peer, hostIp = '' }: Caller, mode: 'auto' | 'host-ip'): Scope {
    const { index, pods } = this.#options;
    const address = addressOf(peer);
    const expected = canonicalAddress(hostIp);
    if (index.isNode(address)) return { kind: 'node', hostIp: address };
    if (pods.find(address).kind !== 'none') {
      this.#warnOnce(address, 'a pod without hostNetwork calls as an agent: refused');
      return { kind: 'refused' };
    }
    this.#options.unproven.inc({ address });
    if (mode === 'host-ip') {
      this.#warnOnce(
        address,
        'an agent calls from an address that is no hostIP of a pod: refused by --agent-identity=host-ip',
        expected,
      );
      return { kind: 'refused' };
    }
    this.#warnOnce(
      address,
      'an agent calls from an address that is no hostIP of a pod: it is not held to its node',
      expected,
    );
    return { kind: 'any' };
  }

  async #byToken({ peer, token }: Caller, signal: AbortSignal): Promise<Scope> {
    const review: TokenReview = token === '' ? { kind: 'refused' } : await this.#options.reviewToken(token, signal);
    if (review.kind === 'unavailable') return { kind: 'unknown' };
    const pod = review.kind === 'pod' ? this.#options.pods.byUid(review.uid) : undefined;
    // The watch may not have told of an agent that has just started.
    if (review.kind === 'pod' && pod === undefined) return { kind: 'unknown' };
    // An agent shares its node's network; a pod that does not is none.
    if (pod?.hostNetwork === true && pod.hostIp !== '') return { kind: 'node', hostIp: pod.hostIp };
    const why = token === '' ? 'without a token' : 'with a token that proves no node';
    this.#warnOnce(addressOf(peer), `an agent calls ${why}: refused by --agent-identity=token`);
    return { kind: 'refused' };
  }

  /** Once for each address, and once more when the agent says which address it should have called from. */
  #warnOnce(address: string, message: string, expected?: string): void {
    const key = `${address} ${expected ?? ''}`;
    if (this.#warned.has(key) || this.#warned.size >= MOST_WARNINGS) return;
    this.#warned.add(key);
    this.#options.logger.warn(message, {
      'agent.address': address,
      ...(expected === undefined ? {} : { 'agent.expected_address': expected }),
    });
  }
}

/** The address of `192.0.2.1:40000`, `[2001:db8::1]:40000`; `''` when it is neither. */
function addressOf(peer: string): string {
  const host = /^\[?(.*?)\]?:\d+$/.exec(peer)?.[1] ?? '';
  return canonicalAddress(host) ?? '';
}
