import type { ReviewSource, TokenReview } from '#domain/agent-token.ts';
import { canonicalAddress } from '#domain/address.ts';
import type { NodeId } from '#domain/node.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerKey } from '#telemetry/once.ts';

import type { NodeIndex } from './node-index.ts';
import type { PodView } from './ports.ts';

/** Which pods an agent may ask for. */
export type Scope =
  /** Those of its node, which is proven; `agentUid` is the agent's own pod, where its token says so. */
  | { readonly kind: 'node'; readonly node: NodeId; readonly agentUid?: string }
  /** All, as with Kiam: who it is cannot be told. */
  | { readonly kind: 'any' }
  | { readonly kind: 'refused' }
  /** It cannot be told at this moment. */
  | { readonly kind: 'unknown' };

/** How an agent is limited to the pods of its own node: `--agent-identity`. */
export type AgentIdentityMode = 'off' | 'auto' | 'host-ip' | 'token';

/** What is known of a call's caller. */
export interface Caller {
  /** The address and port that the connection comes from. */
  readonly peer: string;
  /** The service account token that came with the call; `''` for none. */
  readonly token: string;
  /** The fingerprint of the certificate that the connection was opened with. */
  readonly certificate: () => string;
  /** The node address that the agent gives, where it gives one; only for log lines. */
  readonly hostIp?: string;
}

export interface AgentScopeOptions {
  /** `--agent-identity` */
  readonly mode: AgentIdentityMode;
  /** `--agent-service-account`: whose tokens prove an agent's node, as the API server names the user. */
  readonly serviceAccount: string;
  readonly index: Pick<NodeIndex, 'isNode'>;
  readonly pods: Pick<PodView, 'find' | 'byUid'>;
  readonly reviewToken: (token: string, source: ReviewSource, signal: AbortSignal) => Promise<TokenReview>;
  readonly logger: Logger;
  /** Counts a call whose caller's node is not known, by the caller's address. */
  readonly countUnproven: (address: string) => void;
}

/** How many addresses are warned about, each once. */
const MOST_WARNINGS = 1000;

/**
 * Holds an agent to the pods of its own node (docs/specification.md, 6): a stolen agent certificate is then worth one node's
 * roles and not the cluster's. A token proves the node by name. Without one, an agent shares its node's address (hostNetwork), so
 * the address that it calls from is among `status.hostIPs` of its pods: no proof against whoever is root on another node.
 */
export class AgentScope {
  readonly #options: AgentScopeOptions;
  readonly #isNew = oncePerKey({ most: MOST_WARNINGS });

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
    if (index.isNode(address)) return { kind: 'node', node: { by: 'address', address } };
    if (pods.find(address).kind !== 'none') {
      this.#warnOnce(address, 'a pod without hostNetwork calls as an agent: refused');
      return { kind: 'refused' };
    }
    this.#options.countUnproven(address);
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

  async #byToken({ peer, token, certificate }: Caller, signal: AbortSignal): Promise<Scope> {
    const { pods, index, reviewToken, serviceAccount } = this.#options;
    const address = addressOf(peer);
    if (token === '') return this.#refuse(address, 'an agent calls without a token');
    const review = await reviewToken(token, { address, isNode: index.isNode(address), certificate }, signal);
    if (review.kind === 'unavailable') return { kind: 'unknown' };
    if (review.kind === 'pod' && review.user !== serviceAccount) {
      return this.#refuse(address, 'an agent calls with a token of another account than --agent-service-account');
    }
    const pod = review.kind === 'pod' ? pods.byUid(review.uid) : undefined;
    // The watch may not have shown an agent that has just started yet, or may have shown its end.
    if (review.kind === 'pod' && pod === undefined) return { kind: 'unknown' };
    const name = review.kind === 'pod' && review.nodeName !== '' ? review.nodeName : (pod?.nodeName ?? '');
    // An agent shares its node's network; a pod that does not is no agent.
    if (pod?.hostNetwork === true && name !== '') {
      return { kind: 'node', node: { by: 'name', name }, agentUid: pod.uid };
    }
    return this.#refuse(address, 'an agent calls with a token that proves no node');
  }

  #refuse(address: string, what: string): Scope {
    this.#warnOnce(address, `${what}: refused by --agent-identity=token`);
    return { kind: 'refused' };
  }

  /** Warns once for each address and reason, and once more when the agent gives the address that it should have called from. */
  #warnOnce(address: string, message: string, expected?: string): void {
    const key = `${address} ${message} ${expected ?? ''}`;
    if (!this.#isNew(key)) return;
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
