import type { Clock } from '#runtime/clock.ts';
import type { StsError } from './answers.ts';
import type { AssumeRoleInput } from './assume-role.ts';
import type { CallerIdentity } from './identities.ts';

/** How STS treats the calls for a role. Fields that are left out change nothing. */
export interface RoleBehaviour {
  /** The trust policy lets nobody in. */
  readonly deny?: boolean;
  readonly throttle?: boolean;
  /** 500 InternalFailure. */
  readonly fail?: boolean;
  /** The call is never answered, until the client gives up or the behaviour is changed and the server closed. */
  readonly hang?: boolean;
  /** The answer, whatever it is, comes so much later. */
  readonly delayMs?: number;
  readonly maxSessionDurationSeconds?: number;
  /** Callers must give this external id. */
  readonly externalId?: string;
  /** ARNs of the sessions or users that may assume it; all others are denied. */
  readonly trusted?: readonly string[];
  /** It holds for so many calls, then the role behaves normally again. */
  readonly times?: number;
}

/** The behaviours set for roles and for everything, and the rate limit over all. */
export class Behaviours {
  readonly #roles = new Map<string, RoleBehaviour>();
  readonly #clock: Clock;
  #everywhere: RoleBehaviour = {};
  #limitPerSecond = Number.POSITIVE_INFINITY;
  #tokens = 0;
  #refilledMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  setRole(roleArn: string, behaviour: RoleBehaviour | undefined): void {
    if (behaviour === undefined) this.#roles.delete(roleArn);
    else this.#roles.set(roleArn, behaviour);
  }

  setEverywhere(behaviour: RoleBehaviour): void {
    this.#everywhere = behaviour;
  }

  /** Calls beyond so many a second, after a burst of as many, are throttled. */
  limit(callsPerSecond: number | undefined): void {
    this.#limitPerSecond = callsPerSecond ?? Number.POSITIVE_INFINITY;
    this.#tokens = this.#limitPerSecond;
    this.#refilledMs = this.#clock.monotonic();
  }

  /** What holds for one call for a role; counts it against `times`. */
  take(roleArn: string): RoleBehaviour {
    const own = this.#roles.get(roleArn);
    if (own?.times !== undefined) this.setRole(roleArn, own.times > 1 ? { ...own, times: own.times - 1 } : undefined);
    const everywhere = this.#everywhere;
    if (everywhere.times !== undefined) {
      this.#everywhere = everywhere.times > 1 ? { ...everywhere, times: everywhere.times - 1 } : {};
    }
    return { ...everywhere, ...own };
  }

  overLimit(): boolean {
    if (this.#limitPerSecond === Number.POSITIVE_INFINITY) return false;
    const nowMs = this.#clock.monotonic();
    const refill = ((nowMs - this.#refilledMs) / 1000) * this.#limitPerSecond;
    this.#tokens = Math.min(this.#limitPerSecond, this.#tokens + refill);
    this.#refilledMs = nowMs;
    if (this.#tokens < 1) return true;
    this.#tokens -= 1;
    return false;
  }
}

export const THROTTLED: StsError = { status: 400, code: 'Throttling', message: 'Rate exceeded' };

/** Why a role's behaviour refuses a call that is otherwise right; undefined when it does not. */
export function refusalOf(
  behaviour: RoleBehaviour,
  input: AssumeRoleInput,
  caller: CallerIdentity,
): StsError | undefined {
  if (behaviour.throttle === true) return THROTTLED;
  if (behaviour.fail === true) return { status: 500, code: 'InternalFailure', message: 'internal' };
  const untrusted = behaviour.trusted !== undefined && !behaviour.trusted.includes(caller.arn);
  const wrongExternalId = behaviour.externalId !== undefined && behaviour.externalId !== input.externalId;
  if (behaviour.deny === true || untrusted || wrongExternalId) {
    return {
      status: 403,
      code: 'AccessDenied',
      message: `User: ${caller.arn} is not authorized to perform: sts:AssumeRole on resource: ${input.roleArn}`,
    };
  }
  if (input.durationSeconds > (behaviour.maxSessionDurationSeconds ?? 43_200)) {
    const message = 'The requested DurationSeconds exceeds the MaxSessionDuration set for this role.';
    return { status: 400, code: 'ValidationError', message };
  }
  return undefined;
}
