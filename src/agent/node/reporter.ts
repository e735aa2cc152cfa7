import type { NodeDetails } from '#domain/node-details.ts';
import type { NodeReport } from '#domain/node-readiness.ts';
import type { SendReport } from '#rpc/client.ts';
import { wireNodeReport } from '#rpc/contract.ts';
import { isUnimplemented } from '#rpc/status.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';

/** Something that may keep pods from their credentials. */
export interface Concern {
  /** In one word, as in a condition of Kubernetes. */
  readonly reason: string;
  /** What is wrong at present, in one line; undefined while nothing is. */
  readonly problem: () => string | undefined;
}

export interface NodeReporterOptions {
  /** The first that has a problem gives the report its reason. */
  readonly concerns: () => readonly Concern[];
  /** What else there is to say now. */
  readonly details: () => NodeDetails;
  readonly clock: Clock;
  readonly random?: () => number;
}

const LOOK_EVERY_MS = 200;

/** A problem that is shorter is none: rules that were flushed are back within two seconds, and an agent that starts has some. */
const SETTLING_MS = 5000;

const ANSWER_WITHIN_MS = 5000;

/** Details may change all the time: that alone is told this often at most. */
const DETAILS_EVERY_MS = 30_000;

const READY: NodeReport = {
  ready: true,
  reason: 'AgentReady',
  message: 'redirect and guard were read back in place, the agent knows its pods, and a server answers',
};

/**
 * Tells the server that streams to this agent how the node is. Redirect and guard count as proven when the checks of the
 * interception, every few seconds, have read them back from the kernel in force.
 */
export class NodeReporter {
  readonly #options: NodeReporterOptions;
  /** Since when something has been wrong, in monotonic milliseconds; undefined while nothing is. */
  #troubledSinceMs: number | undefined;

  constructor(options: NodeReporterOptions) {
    this.#options = options;
  }

  /** Reports over one stream, from the moment that it is synced until `signal` aborts. Never rejects. */
  async run(send: SendReport, signal: AbortSignal): Promise<void> {
    const { clock, details, random = Math.random } = this.#options;
    const backoff = createBackoff({ firstMs: 500, capMs: 10_000, random });
    let told = { report: '', details: '', atMs: 0 };
    while (!signal.aborted) {
      const report = this.#look();
      const found = details();
      const next = { report: JSON.stringify(report), details: JSON.stringify(found), atMs: clock.monotonic() };
      const isNews =
        next.report !== told.report || (next.details !== told.details && next.atMs - told.atMs >= DETAILS_EVERY_MS);
      if (report !== undefined && isNews) {
        const answer = await send(wireNodeReport(report, found), { timeoutMs: ANSWER_WITHIN_MS, signal });
        // An older server: the next stream may be that of a newer one.
        if (!answer.ok && isUnimplemented(answer.code)) return;
        if (answer.ok) {
          told = next;
          backoff.reset();
        } else await sleep(clock, backoff.nextMs(), signal);
      }
      await sleep(clock, LOOK_EVERY_MS, signal);
    }
  }

  /** Undefined while it cannot be told yet whether a problem stays. */
  #look(): NodeReport | undefined {
    const { concerns, clock } = this.#options;
    const found = concerns().flatMap(({ reason, problem }) => {
      const message = problem();
      return message === undefined ? [] : [{ reason, message }];
    });
    const [first] = found;
    if (first === undefined) {
      this.#troubledSinceMs = undefined;
      return READY;
    }
    this.#troubledSinceMs ??= clock.monotonic();
    if (clock.monotonic() - this.#troubledSinceMs < SETTLING_MS) return undefined;
    return { ready: false, reason: first.reason, message: found.map(({ message }) => message).join('; ') };
  }
}
