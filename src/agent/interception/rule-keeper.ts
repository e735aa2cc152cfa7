import type { Clock } from '#runtime/clock.ts';
import type { Fields, Logger } from '#telemetry/logger.ts';
import { oncePerInterval } from '#telemetry/once.ts';

import { explained } from './command.ts';
import { type TakeoverBackoff, createTakeoverBackoff } from './takeover-backoff.ts';
import type { InterceptionMetrics } from './metrics.ts';
import { plan, type Plan, withoutForeign } from './plan.ts';
import type { Rule } from './rules.ts';
import type { Tables } from './tables.ts';
import type { DesiredRules } from './desired-rules.ts';

export type Presence = 'present' | 'missing' | 'unknown';

export interface RuleState {
  readonly presence: Presence;
  /** Why it is not known to be present; '' when it is. */
  readonly reason: string;
}

/** What a check did: `replaced` tells of a rule that sent packets elsewhere until now. */
export type Change = 'none' | 'placed' | 'replaced';

export interface RuleKeeperOptions {
  readonly desired: DesiredRules;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: InterceptionMetrics;
  /** Once it aborts, commands fail because they were given up, which is not logged. */
  readonly signal: AbortSignal;
  /** Failing is not an error as long as it never worked: IPv6 on a node that may have none. */
  readonly isOptional?: boolean;
}

/** What never worked is tried again this often. */
const OPTIONAL_INTERVAL_MS = 60_000;

/**
 * The same message is logged again after this long at the earliest, for instance while two programs replace each other's rule.
 */
const LOG_INTERVAL_MS = 10_000;
const MOST_MESSAGES = 100;

/** Keeps one rule, or the two of the guard, in place in one address family, and remembers what it has logged about it. */
export class RuleKeeper {
  readonly desired: DesiredRules;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: InterceptionMetrics;
  readonly #signal: AbortSignal;
  readonly #isOptional: boolean;
  readonly #takeoverBackoff: TakeoverBackoff;
  readonly #isDue: (key: string) => boolean;
  #state: RuleState = { presence: 'unknown', reason: 'it has not been looked at yet' };
  #wasPlaced = false;
  #failure = '';
  #nextCheckMs = 0;

  constructor({ desired, clock, logger, metrics, signal, isOptional = false }: RuleKeeperOptions) {
    this.desired = desired;
    this.#clock = clock;
    this.#logger = logger;
    this.#metrics = metrics;
    this.#signal = signal;
    this.#isOptional = isOptional;
    this.#takeoverBackoff = createTakeoverBackoff(clock);
    this.#isDue = oncePerInterval({ clock, intervalMs: LOG_INTERVAL_MS, most: MOST_MESSAGES });
  }

  get state(): RuleState {
    return this.#state;
  }

  /** Whether it was ever in place, which shows that it can be on this node. */
  get wasPlaced(): boolean {
    return this.#wasPlaced;
  }

  /** Whether its absence is a fault. */
  get isNeeded(): boolean {
    return this.#wasPlaced || !this.#isOptional;
  }

  /** Checks, and restores what is missing. Never rejects. */
  async check(tables: Tables): Promise<Change> {
    if (this.#clock.monotonic() < this.#nextCheckMs) return 'none';
    const read = await tables.readChain(this.desired);
    if (!read.ok) return this.#fail('unknown', read.reason);
    const found = this.#planFor(read.rules);
    if (found.lines.length === 0) {
      this.#succeed(found);
      return 'none';
    }
    const changed = await tables.change(this.desired, found.lines);
    if (!changed.ok) return this.#fail(found.inForce ? 'present' : 'missing', changed.reason);
    this.#report(found);
    const again = await tables.readChain(this.desired);
    if (!again.ok) this.#fail('unknown', again.reason);
    else if (plan(again.rules, this.desired).inForce) this.#succeed({ ...found, inForce: true });
    else this.#fail('missing', 'it was put in place and is not in force');
    return found.findings.includes('foreign') ? 'replaced' : 'placed';
  }

  /** What is to be done now; without any lines also when it is another agent's turn. */
  #planFor(rules: readonly Rule[]): Plan {
    const found = plan(rules, this.desired);
    if (!found.findings.includes('foreign') || this.#takeoverBackoff.mayReplace()) return found;
    // A guard for another interface does no harm beside ours. Two redirects cannot both be in force.
    if (this.desired.table !== 'nat') return plan(withoutForeign(rules, this.desired), this.desired);
    return { ...found, lines: [] };
  }

  #succeed(found: Plan): void {
    if (found.inForce) {
      this.#state = { presence: 'present', reason: '' };
      this.#wasPlaced = true;
    } else {
      this.#state = {
        presence: 'missing',
        reason: `another agent's rule is in force: ${explained(found.culprit ?? '')}`,
      };
    }
    if (this.#failure !== '') this.#logger.info('an iptables rule can be kept in place again', this.#fields());
    this.#failure = '';
  }

  #fail(presence: Presence, reason: string): 'none' {
    if (this.#signal.aborted) return 'none';
    this.#state = { presence, reason };
    if (this.isNeeded) this.#metrics.failed(this.desired.name);
    else this.#nextCheckMs = this.#clock.monotonic() + OPTIONAL_INTERVAL_MS;
    if (reason !== this.#failure) {
      this.#logger.warn('an iptables rule could not be read or put in place', { ...this.#fields(), reason });
    }
    this.#failure = reason;
    return 'none';
  }

  #report(found: Plan): void {
    const culprit = found.culprit === undefined ? undefined : explained(found.culprit);
    const fields = { ...this.#fields(), found: found.findings.join(','), culprit };
    if (this.#wasPlaced) {
      this.#metrics.restored(this.desired.name);
      this.#warnNowAndThen('an iptables rule was restored', fields);
    } else {
      this.#logger.info('an iptables rule was put in place', fields);
    }
    if (found.findings.includes('foreign') && this.#takeoverBackoff.replaced()) {
      this.#warnNowAndThen(
        'another program keeps replacing an iptables rule: only one agent may run on a node',
        fields,
      );
    }
  }

  #warnNowAndThen(message: string, fields: Fields): void {
    if (this.#isDue(`${message} ${String(fields['found'])}`)) this.#logger.warn(message, fields);
  }

  #fields(): Fields {
    return { rule: this.desired.name, family: this.desired.family };
  }
}
