import { randomUUID } from 'node:crypto';

import type { Clock } from '#runtime/clock.ts';
import type { AwaitTurn } from '#runtime/turn-budget.ts';
import type { IdentityStatus, NodeStatus, ServerStatus } from '#server/status/server-status.ts';
import type { RecentEvent, StsMinute } from '#server/status/history.ts';

import { ChangeTable } from './change-table.ts';
import type { IdentityRow, NodeRow, OverviewAnswer, Rows } from './wire.ts';

export interface OverviewOptions {
  /** Undefined while the server does not know the cluster yet. */
  readonly status: () => Promise<ServerStatus> | undefined;
  readonly events: () => readonly RecentEvent[];
  readonly sts: () => readonly StsMinute[];
  readonly clock: Clock;
  /** Called before each row: other work goes on in between. */
  readonly awaitTurn: AwaitTurn;
}

const NAMES = ['nodes', 'identities', 'failing', 'namespaces', 'events'] as const satisfies readonly (keyof Rows)[];

/** The pods are read at most this often, however many pages are open. */
const COLLECT_INTERVAL_MS = 1500;

/** After this time without a request nobody looks any more, and what was kept to compute changes is dropped. */
const FORGET_AFTER_MS = 30_000;

interface Collected {
  readonly status: ServerStatus;
  readonly atMs: number;
}

/** Answers `/api/overview` with what has changed since the client's last answer. */
export class Overview {
  readonly #options: OverviewOptions;
  #epoch = '';
  #version = 0;
  #tables = newTables();
  #collected: Collected | undefined;
  #collecting: Promise<ServerStatus> | undefined;
  #cancelForget = (): void => {};

  constructor(options: OverviewOptions) {
    this.#options = options;
  }

  /** An {@link OverviewAnswer} as JSON; undefined while the server does not know the cluster yet. */
  async since(cursor: string): Promise<string | undefined> {
    const { clock, sts } = this.#options;
    this.#cancelForget();
    const status = await this.#current();
    this.#cancelForget();
    this.#cancelForget = clock.after(FORGET_AFTER_MS, () => this.#forget());
    if (status === undefined) return undefined;
    const known = this.#versionOf(cursor);
    const { replica, pods, leftOut } = status;
    const head: Omit<OverviewAnswer, 'tables'> = {
      cursor: `${this.#epoch}.${this.#version}`,
      isWhole: known === 0,
      nowMs: clock.now(),
      replica,
      pods,
      leftOut,
      sts: sts(),
    };
    const tables = NAMES.map((name) => `"${name}":${this.#tables[name].jsonSince(known)}`);
    return `${JSON.stringify(head).slice(0, -1)},"tables":{${tables.join(',')}}}`;
  }

  #forget(): void {
    this.#tables = newTables();
    this.#collected = undefined;
    this.#version = 0;
  }

  /** 0 for a cursor of another process, or from too long ago. */
  #versionOf(cursor: string): number {
    const [epoch, version] = cursor.split('.');
    const known = epoch === this.#epoch ? Number(version) : 0;
    const isKnown =
      known > 0 && known <= this.#version && NAMES.every((name) => this.#tables[name].reachesBackTo(known));
    return isKnown ? known : 0;
  }

  async #current(): Promise<ServerStatus | undefined> {
    const { clock } = this.#options;
    if (this.#collected !== undefined && clock.monotonic() - this.#collected.atMs < COLLECT_INTERVAL_MS) {
      return this.#collected.status;
    }
    this.#collecting ??= this.#collect()?.finally(() => (this.#collecting = undefined));
    return this.#collecting;
  }

  #collect(): Promise<ServerStatus> | undefined {
    return this.#options.status()?.then(async (status) => {
      if (this.#version === 0) this.#epoch = randomUUID();
      const next = this.#version + 1;
      const rows: Readonly<Record<keyof Rows, Iterable<readonly [string, unknown]>>> = {
        nodes: status.nodes.map((node) => [node.node, nodeRow(node)]),
        identities: identityRows(status.identities),
        failing: status.failing.map((pod) => [pod.pod, pod]),
        namespaces: status.namespaces.map((namespace) => [namespace.name, namespace]),
        events: this.#options.events().map((event) => [String(event.sequence), event]),
      };
      for (const name of NAMES) await this.#tables[name].update(rows[name], next, this.#options.awaitTurn);
      this.#version = next;
      this.#collected = { status, atMs: this.#options.clock.monotonic() };
      return status;
    });
  }
}

function newTables(): Readonly<Record<keyof Rows, ChangeTable>> {
  return {
    nodes: new ChangeTable(),
    identities: new ChangeTable(),
    failing: new ChangeTable(),
    namespaces: new ChangeTable(),
    events: new ChangeTable(),
  };
}

function nodeRow({ agent, ...node }: NodeStatus): NodeRow {
  if (agent === null) return { ...node, agent };
  const { version, isReady, notReadyBecause, redirect, guard, pods, lastError } = agent;
  return { ...node, agent: { version, isReady, notReadyBecause, redirect, guard, pods, lastError } };
}

/** Identities that differ only in external id or tags, which are not shown, are distinguished by a number. */
function* identityRows(identities: readonly IdentityStatus[]): Iterable<readonly [string, IdentityRow]> {
  const seen = new Map<string, number>();
  for (const { remainingSeconds, ...identity } of identities) {
    const name = `${identity.roleArn} ${identity.sessionName}`;
    const number = (seen.get(name) ?? 0) + 1;
    seen.set(name, number);
    yield [number === 1 ? name : `${name} ${number}`, { ...identity, isServed: remainingSeconds !== null }];
  }
}
