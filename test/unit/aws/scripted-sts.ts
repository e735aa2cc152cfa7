import type { Sts, StsOutcome } from '#aws/sts.ts';
import { stsFailure } from '#aws/sts-failure.ts';
import type { Identity } from '#domain/identity.ts';
import { identityKey } from '#domain/identity.ts';
import type { ManualClock } from '../../support/manual-clock.ts';

export type Behaviour = 'well' | 'throttled' | 'denied' | 'unavailable' | 'hanging' | 'malformed';

export interface RecordedCall {
  readonly atMs: number;
  readonly key: string;
  readonly identity: Identity;
  readonly behaviour: Behaviour;
}

const ERRORS = {
  throttled: { code: 'Throttling', message: 'Rate exceeded', status: 400 },
  denied: { code: 'AccessDenied', message: 'User: arn:aws:sts::1:assumed-role/kiam/1 is not authorized', status: 403 },
  unavailable: { code: 'InternalFailure', message: 'internal', status: 500 },
  malformed: { code: 'ValidationError', message: 'it is invalid', status: 400 },
} as const;

/** An STS that behaves as a test says, by the test's clock, and remembers every call. */
export class ScriptedSts implements Sts {
  readonly calls: RecordedCall[] = [];
  /** When the latest set of each identity ends, by the monotonic clock: the truth that a cache must not outlive. */
  readonly validUntilMs = new Map<string, number>();
  latencyMs = 100;
  sessionMs = 3_600_000;
  /** Added to the expiry that is told, without any effect on the truth. */
  expiryErrorMs = 0;
  clockOffsetMs = 0;
  inFlight = 0;
  mostInFlight = 0;
  behave: (identity: Identity) => Behaviour = () => 'well';
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  get succeeded(): number {
    return this.calls.filter(({ behaviour }) => behaviour === 'well').length;
  }

  callsOf(identity: Identity): readonly RecordedCall[] {
    return this.calls.filter(({ key }) => key === identityKey(identity));
  }

  assumeRole(identity: Identity, signal: AbortSignal): Promise<StsOutcome> {
    const behaviour = this.behave(identity);
    this.calls.push({ atMs: this.#clock.monotonic(), key: identityKey(identity), identity, behaviour });
    this.inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    return new Promise((resolve) => {
      const finish = (): void => {
        this.inFlight -= 1;
        resolve(this.#answer(identity, behaviour));
      };
      if (behaviour === 'hanging') signal.addEventListener('abort', () => (this.inFlight -= 1), { once: true });
      else this.#clock.after(this.latencyMs, finish);
    });
  }

  #answer(identity: Identity, behaviour: Behaviour): StsOutcome {
    if (behaviour !== 'well' && behaviour !== 'hanging') return stsFailure(ERRORS[behaviour]);
    this.validUntilMs.set(identityKey(identity), this.#clock.monotonic() + this.sessionMs);
    return {
      ok: true,
      value: {
        accessKeyId: `ASIA${this.calls.length}`,
        secretAccessKey: `SECRET${this.calls.length}`,
        sessionToken: `TOKEN${this.calls.length}`,
        expiresAtMs: this.#clock.now() + this.clockOffsetMs + this.sessionMs + this.expiryErrorMs,
        issuedAtMs: this.#clock.now(),
      },
      grantedMs: this.sessionMs,
      clockOffsetMs: this.clockOffsetMs,
      packedPolicyPercent: 0,
    };
  }
}

/** Numbers in [0, 1), the same in every run: https://en.wikipedia.org/wiki/Linear_congruential_generator */
export function repeatableRandom(seed = 1): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
