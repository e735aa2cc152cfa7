import { readdir } from 'node:fs/promises';

import { type Clock, sleep } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type Backend, findBackend } from './backend.ts';
import { type FollowCommand, type RunCommand, explained } from './command.ts';
import { forgetConnections } from './connections.ts';
import type { InterceptionMetrics } from './metrics.ts';
import { planRemoval } from './plan.ts';
import { followDeletions } from './rule-events.ts';
import { type Presence, RuleKeeper } from './rule-keeper.ts';
import { openTables } from './tables.ts';
import {
  EKS_INTERFACE,
  type InterceptionRules,
  isContainerRule,
  type RuleName,
  desiredRules,
  type DesiredRules,
} from './desired-rules.ts';

export interface InterceptionOptions extends InterceptionRules {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: InterceptionMetrics;
  readonly run: RunCommand;
  /** Listens for deleted rules, through iptables-nft. Default: nothing listens, and the checks find them a little later. */
  readonly follow?: FollowCommand;
  /** Ends the checks; the rules stay as they are. */
  readonly signal: AbortSignal;
  /** How long each command may wait for the xtables lock. Default 5 s. */
  readonly lockWaitSeconds?: number;
  /** The names of the node's interfaces. Default: those that the kernel shows in /sys/class/net. */
  readonly listInterfaces?: () => Promise<readonly string[]>;
}

export interface InterceptionStatus {
  readonly redirect: Presence;
  readonly guard: Presence;
  /** Why one of them is not known to be present; '' when both are. */
  readonly reason: string;
}

export interface RemovalOptions {
  readonly removeRedirect: boolean;
  readonly removeGuard: boolean;
}

/** Rules are looked at this often. On nodes where that takes long, with very large tables, somewhat more rarely. */
const CHECK_INTERVAL_MS = 2000;
const LONGEST_INTERVAL_MS = 3000;

/** While the kernel announces deletions this much time passes between two checks, and more the longer they continue. */
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 200;

const CONTAINER_RULES = ['container-redirect', 'container-output', 'container-guard'] as const;
const REDIRECTS: readonly RuleName[] = ['redirect', 'container-redirect', 'container-output'];
const GUARDS: readonly RuleName[] = ['guard', 'backstop', 'container-guard'];

const BACKEND_INTERVAL_MS = 120_000;
const REMOVAL_LIMIT_MS = 4000;

/**
 * Keeps the redirect and the guard in place from `start` to `close`, and by default beyond (docs/specification.md, 4). All of
 * it runs in the background: nothing here throws, and no caller needs to wait.
 */
export class Interception {
  readonly #options: InterceptionOptions;
  readonly #keepers: readonly RuleKeeper[];
  readonly #closing = new AbortController();
  readonly #signal: AbortSignal;
  #backend: Backend | undefined;
  #nextBackendMs = 0;
  #backendReason = 'it has not been looked at yet';
  #isEksThere = false;
  #running: Promise<unknown> = Promise.resolve();
  /** Ends the pause between two checks; a new one for each. */
  #wake = new AbortController();

  constructor(options: InterceptionOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#closing.signal]);
    this.#keepers = desiredRules(options).map((desired) => {
      // A kernel may come without the table of the backstop; the guard is then alone.
      const isExpected = desired.family === 'ipv4' || options.hostAddresses.ipv6 !== undefined;
      const isOptional = desired.name === 'backstop' || !isExpected;
      return new RuleKeeper({ ...options, desired, isOptional, signal: this.#signal });
    });
  }

  /** Begins at once, with the guard, and returns without waiting. */
  start(): void {
    this.#signal.addEventListener('abort', () => this.#wake.abort(), { once: true });
    this.#running = Promise.all([this.#keep(), this.#listen()]);
  }

  status(): InterceptionStatus {
    const redirect = this.#stateOf('redirect');
    const guard = this.#stateOf('guard');
    const states = [redirect, guard, ...this.#containerRules().map((name) => this.#stateOf(name))];
    const reasons = states.filter((state) => state.reason !== '').map((state) => state.reason);
    return { redirect: redirect.presence, guard: guard.presence, reason: [...new Set(reasons)].join('; ') };
  }

  /** Ends the checks, and removes what it is told to, within four seconds. The rest stays, because pods stay. */
  async close({ removeRedirect, removeGuard }: RemovalOptions): Promise<void> {
    this.#closing.abort();
    await this.#running;
    const names = [...(removeRedirect ? REDIRECTS : []), ...(removeGuard ? GUARDS : [])];
    if (this.#backend === undefined || names.length === 0) return;
    const limit = new AbortController();
    const cancel = this.#options.clock.after(REMOVAL_LIMIT_MS, () => limit.abort());
    const keepers = this.#keepers.filter((keeper) => names.includes(keeper.desired.name));
    await this.#removeAll(keepers, this.#backend, limit.signal);
    cancel();
  }

  async #keep(): Promise<void> {
    const { clock } = this.#options;
    let intervalMs = CHECK_INTERVAL_MS;
    let pauseMs = FIRST_PAUSE_MS;
    await Promise.all([this.#checkAll(), this.#checkInterface()]);
    while (!this.#signal.aborted) {
      await sleep(clock, pauseMs, this.#signal);
      await sleep(clock, intervalMs - pauseMs, this.#wake.signal);
      pauseMs = this.#wake.signal.aborted ? Math.min(2 * pauseMs, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS;
      this.#wake = new AbortController();
      const startedMs = clock.monotonic();
      await this.#checkAll();
      const tookMs = clock.monotonic() - startedMs;
      intervalMs = Math.min(Math.max(CHECK_INTERVAL_MS, 10 * tookMs), LONGEST_INTERVAL_MS);
    }
  }

  async #listen(): Promise<void> {
    const { clock, follow } = this.#options;
    if (follow === undefined) return;
    await followDeletions({ follow, clock, signal: this.#signal, onDeletion: () => this.#wake.abort() });
  }

  /** A redirect on an interface that does not exist redirects nothing, and nothing else would report it. */
  async #checkInterface(): Promise<void> {
    const { hostInterface, logger, listInterfaces = listKernelInterfaces } = this.#options;
    const names = await listInterfaces();
    if (names.length === 0 || hostInterface.inverted || hostInterface.name.endsWith('+')) return;
    if (names.includes(hostInterface.name)) return;
    const fields = { interface: hostInterface.name, interfaces: explained(names.join(' ')) };
    logger.warn('the host interface does not exist: pods are not redirected to the agent', fields);
  }

  async #checkAll(): Promise<void> {
    const previous = this.#backend;
    const backend = await this.#currentBackend();
    if (backend === undefined) return;
    const changed = new Map<DesiredRules['family'], 'direct' | 'all'>();
    await this.#makeWay(backend);
    for (const keeper of this.#keepers) {
      if (this.#signal.aborted) return;
      if (this.#isEksThere && isContainerRule(keeper.desired)) continue;
      const { family } = keeper.desired;
      const tables = openTables({ ...this.#options, backend, family, signal: this.#signal });
      const change = await keeper.check(tables);
      // Nothing but the agent answers at the address of container credentials: there are no older connections to forget.
      if (isContainerRule(keeper.desired)) continue;
      if (change === 'replaced') changed.set(family, 'all');
      else if (change === 'placed' && !changed.has(family)) changed.set(family, 'direct');
    }
    if (previous !== undefined && previous.kind !== backend.kind) {
      await this.#removeAll(this.#keepers, previous, this.#signal);
    }
    for (const [family, which] of changed) {
      const problem = await forgetConnections(which, { family, run: this.#options.run, signal: this.#signal });
      if (problem !== undefined)
        this.#options.logger.warn('tracked connections could not be deleted', { family, reason: problem });
    }
    this.#publish();
  }

  /**
   * Where the agent of EKS has the address of container credentials, our rules for it are removed, and put back when that agent
   * is gone.
   */
  async #makeWay(backend: Backend): Promise<void> {
    const { containerPort, logger, listInterfaces = listKernelInterfaces } = this.#options;
    if (containerPort === undefined) return;
    const isThere = (await listInterfaces()).includes(EKS_INTERFACE);
    if (isThere === this.#isEksThere) return;
    this.#isEksThere = isThere;
    const fields = { interface: EKS_INTERFACE };
    if (!isThere) logger.info('the agent of EKS Pod Identity has gone: container credentials are redirected', fields);
    else {
      logger.warn('EKS Pod Identity has the address of container credentials: they are not redirected', fields);
      const keepers = this.#keepers.filter(({ desired }) => isContainerRule(desired));
      await this.#removeAll(keepers, backend, this.#signal);
    }
  }

  /** The names of the rules for container credentials that are to be in place now. */
  #containerRules(): readonly RuleName[] {
    if (this.#options.containerPort === undefined || this.#isEksThere) return [];
    return CONTAINER_RULES;
  }

  async #currentBackend(): Promise<Backend | undefined> {
    const { clock, logger, run } = this.#options;
    if (this.#backend !== undefined && clock.monotonic() < this.#nextBackendMs) return this.#backend;
    const result = await findBackend({ run, signal: this.#signal, current: this.#backend?.kind });
    if (this.#signal.aborted) return undefined;
    if (result.ok) {
      const { kind, command } = result.backend;
      if (kind !== this.#backend?.kind) logger.info('iptables was found', { backend: kind, command });
      this.#backend = result.backend;
    } else if (result.reason !== this.#backendReason) {
      this.#backendReason = result.reason;
      logger.error('iptables does not work: pods are not kept from the node role', { reason: result.reason });
    }
    this.#nextBackendMs = clock.monotonic() + BACKEND_INTERVAL_MS;
    return this.#backend;
  }

  async #removeAll(keepers: readonly RuleKeeper[], backend: Backend, signal: AbortSignal): Promise<void> {
    for (const { desired, isNeeded } of keepers) {
      const tables = openTables({ ...this.#options, backend, family: desired.family, signal });
      const read = await tables.readChain(desired);
      const lines = read.ok ? planRemoval(read.rules, desired) : [];
      const done = read.ok && lines.length > 0 ? await tables.change(desired, lines) : read;
      const fields = { rule: desired.name, family: desired.family, backend: backend.kind };
      // Where a table is missing there is nothing to remove.
      if (!done.ok && isNeeded)
        this.#options.logger.warn('an iptables rule could not be removed', { ...fields, reason: done.reason });
      else if (done.ok && lines.length > 0) this.#options.logger.info('an iptables rule was removed', fields);
    }
  }

  /** The worst state among the families. IPv6 counts where the node's address says so, or where it was seen to work. */
  #stateOf(name: RuleName): { readonly presence: Presence; readonly reason: string } {
    if (this.#backend === undefined) return { presence: 'unknown', reason: `iptables: ${this.#backendReason}` };
    const counted = this.#keepers.filter((keeper) => keeper.desired.name === name && keeper.isNeeded);
    const bad = counted.find((keeper) => keeper.state.presence !== 'present');
    if (counted.length === 0) return { presence: 'missing', reason: `${name}: it cannot be put in place here` };
    if (bad === undefined) return { presence: 'present', reason: '' };
    return { presence: bad.state.presence, reason: `${name} (${bad.desired.family}): ${bad.state.reason}` };
  }

  #publish(): void {
    if (this.#isEksThere) for (const name of CONTAINER_RULES) this.#options.metrics.present(name, false);
    for (const name of ['redirect', 'guard', 'backstop', ...this.#containerRules()] as const) {
      this.#options.metrics.present(name, this.#stateOf(name).presence === 'present');
    }
  }
}

/** The names of the node's interfaces, up or not; none where they cannot be read. */
export async function listKernelInterfaces(): Promise<readonly string[]> {
  return readdir('/sys/class/net').catch(() => []);
}
