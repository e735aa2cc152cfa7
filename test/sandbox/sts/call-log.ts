import type { SessionTags } from './identities.ts';

export interface StsCall {
  readonly atMs: number;
  readonly action: string;
  /** `''` when the signature was refused. */
  readonly callerArn: string;
  readonly roleArn: string;
  readonly sessionName: string;
  readonly externalId: string;
  /** 0 when the caller left it out. */
  readonly durationSeconds: number;
  /** The session policy, as JSON; `''` when there is none. */
  readonly policy: string;
  /** `''` when there is none. */
  readonly sourceIdentity: string;
  readonly tags: SessionTags;
}

export interface LoggedCall extends StsCall {
  /** `ok`, `hung`, or the code of the error. */
  readonly outcome: string;
}

const LONGEST_LOG = 20_000;

/** What STS was asked: the latest calls, and counts of all. */
export class CallLog {
  readonly #calls: LoggedCall[] = [];
  readonly #perAction = new Map<string, number>();
  readonly #perIdentity = new Map<string, number>();

  add(call: StsCall, outcome: string): void {
    this.#calls.push({ ...call, outcome });
    if (this.#calls.length > LONGEST_LOG) this.#calls.splice(0, LONGEST_LOG / 2);
    increment(this.#perAction, call.action);
    if (call.action === 'AssumeRole') increment(this.#perIdentity, identityKeyOf(call));
  }

  /** The latest calls, the oldest first; of one role when it is given. */
  list(roleArn?: string): readonly LoggedCall[] {
    return roleArn === undefined ? [...this.#calls] : this.#calls.filter((call) => call.roleArn === roleArn);
  }

  /** Calls of an action since the start or the last {@link clear}, refused ones included. */
  count(action = 'AssumeRole'): number {
    return this.#perAction.get(action) ?? 0;
  }

  /** AssumeRole calls for one identity, as STS was told it. */
  countOf(identity: Pick<StsCall, 'roleArn' | 'sessionName' | 'externalId'>): number {
    return this.#perIdentity.get(identityKeyOf(identity)) ?? 0;
  }

  clear(): void {
    this.#calls.length = 0;
    this.#perAction.clear();
    this.#perIdentity.clear();
  }
}

function identityKeyOf(call: Pick<StsCall, 'roleArn' | 'sessionName' | 'externalId'>): string {
  return JSON.stringify([call.roleArn, call.sessionName, call.externalId]);
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
