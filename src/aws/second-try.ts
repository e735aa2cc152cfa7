/** Second tries at once, and how many answered calls earn another: an STS that fails as a whole is not asked twice as often. */
const MOST_AT_ONCE = 5;
const EARNED_BY_ANSWER = 0.1;

/**
 * How many calls may be tried again at once after a failure that may pass. STS fails one call in many for no reason; botocore and
 * the other SDKs have such a budget as well (https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html).
 */
export class SecondTries {
  #left = MOST_AT_ONCE;

  /** Whether a call may be tried again; counts it. */
  take(): boolean {
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }

  /** A call was answered. */
  earn(): void {
    this.#left = Math.min(MOST_AT_ONCE, this.#left + EARNED_BY_ANSWER);
  }
}
