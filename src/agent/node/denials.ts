import { failed, type Failure } from '#domain/failure.ts';
import type { Clock } from '#runtime/clock.ts';

import type { Client, Evidence } from '../ports.ts';
import { isRoleOf, type StoredPod } from './store.ts';

interface Denial {
  readonly failure: Failure;
  /** What the kernel showed of the address when the question was asked. */
  readonly evidence: Evidence;
  readonly untilMs: number;
}

/** However long a server says that a refusal stands. */
const LONGEST_MS = 3000;

/** How many roles are remembered for one pod. A pod that tries more roles within that time is not asked for at a server. */
const MOST_ROLES = 8;

const FORBIDDEN = failed('forbidden', 'forbidden by policy').failure;

/**
 * Refusals that a server gave to pods of this node, for as long as it said. They hold for the pod as a stream described it: any
 * update of the pod ends them, and so do a change of what it may have, its deletion and the next complete set.
 */
export class Denials {
  readonly #clock: Clock;
  readonly #byPod = new WeakMap<StoredPod, Map<string, Denial>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Remembers why `client`, which is `pod`, was refused `role`. */
  remember({ evidence }: Client, pod: StoredPod, role: string, failure: Failure): void {
    const standsForMs = Math.min(failure.standsForMs ?? 0, LONGEST_MS);
    if (standsForMs <= 0) return;
    // This server knows less than the one that the stream comes from; that may change in a moment.
    if (failure.kind === 'forbidden' && pod.roleArn !== '' && isRoleOf(pod, role)) return;
    const denials = this.#standing(pod);
    if (denials.size >= MOST_ROLES && !denials.has(keyOf(pod, role))) return;
    denials.set(keyOf(pod, role), { failure, evidence, untilMs: this.#clock.monotonic() + standsForMs });
    this.#byPod.set(pod, denials);
  }

  /** Why `client`, which is `pod`, would be refused `role` again; undefined when a server has to be asked. */
  find(client: Client, pod: StoredPod, role: string): Failure | undefined {
    if (!this.#byPod.has(pod)) return undefined;
    const denials = this.#standing(pod);
    const denial = denials.get(keyOf(pod, role));
    if (denial !== undefined) return isSame(denial.evidence, client.evidence) ? denial.failure : undefined;
    const isTryingAll =
      denials.size >= MOST_ROLES && [...denials.values()].every((one) => isSame(one.evidence, client.evidence));
    return isTryingAll && !mayBeItsOwn(pod, role) ? FORBIDDEN : undefined;
  }

  #standing(pod: StoredPod): Map<string, Denial> {
    const denials = this.#byPod.get(pod) ?? new Map<string, Denial>();
    const nowMs = this.#clock.monotonic();
    for (const [role, { untilMs }] of denials) if (untilMs <= nowMs) denials.delete(role);
    return denials;
  }
}

/** A pod without a role is refused whatever it asks for, in the same words. */
function keyOf(pod: StoredPod, role: string): string {
  return pod.role === '' ? '' : role;
}

/** Whether an address cannot have changed hands meanwhile, as far as the kernel shows. */
function isSame(before: Evidence, now: Evidence): boolean {
  if (before.kind === 'none' || now.kind === 'none') return before.kind === now.kind;
  return before.key === now.key;
}

/** Whether a role, in whatever form, may be the pod's: only a server knows the ARN that a short name stands for. */
function mayBeItsOwn({ roleArn }: StoredPod, role: string): boolean {
  return roleArn !== '' && (role === roleArn || roleArn.endsWith(`/${role.replace(/^\//, '')}`));
}
