import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';

import { type CredentialsPoller, startCredentialsPoller } from './credentials-poller.ts';
import { eventually } from './eventually.ts';
import type { TestCluster } from './sandbox-cluster.ts';

/** Longer than any replacement of an agent, also where many tests share the machine. */
const LONGEST_GAP_MS = 90_000;

/** Pods that ask for their credentials all the time, while what answers them is replaced. */
export class AskingPods {
  readonly #cluster: TestCluster;
  /** By role. */
  readonly #pollers = new Map<string, CredentialsPoller>();

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  /** Starts a pod once it is served at all, and waits until it is answered. */
  async start(namespace: string, name: string, role: string): Promise<void> {
    const { address } = await this.#cluster.world.pod({ namespace, name, role });
    const exec = this.#cluster.podExec(address);
    // What comes before the first agent has settled, its redirect gone and come again, is before the change.
    const first = startCredentialsPoller(exec);
    await eventually(`${role} is served`, LONGEST_GAP_MS, async () =>
      Object.keys((await first.report()).keys).some((key) => this.#isOwn(key, role)),
    );
    await first.stop();
    this.#pollers.set(role, startCredentialsPoller(exec));
    await this.#answersAgain(role);
  }

  /** Runs commands, then makes sure that every pod is answered again and that none was ever given another's credentials. */
  async during(t: TestContext, commands: readonly string[]): Promise<void> {
    for (const command of commands) {
      const before = await this.#failures();
      await this.#cluster.shell(command);
      t.diagnostic(`${command}: ${(await this.#failures()) - before} attempts failed`);
    }
    for (const role of this.#pollers.keys()) await this.#answersAgain(role);
    await this.#nobodyElse(t);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#pollers.values()].map((poller) => poller.stop()));
  }

  #isOwn(key: string, role: string): boolean {
    const { world } = this.#cluster;
    return world.sts.identify(key)?.roleArn === `${world.roleBaseArn}${role}`;
  }

  async #answersAgain(role: string): Promise<void> {
    const poller = this.#pollers.get(role) ?? assert.fail(role);
    const count = async (): Promise<number> => sum(Object.values((await poller.report()).keys));
    const before = await count();
    await eventually(`${role} gets credentials`, LONGEST_GAP_MS, async () => (await count()) > before + 20);
  }

  #reports() {
    return Promise.all([...this.#pollers].map(async ([role, poller]) => ({ role, report: await poller.report() })));
  }

  async #failures(): Promise<number> {
    return sum((await this.#reports()).map(({ report }) => report.failures.length));
  }

  async #nobodyElse(t: TestContext): Promise<void> {
    for (const { role, report } of await this.#reports()) {
      const { keys, asked, failures, longestGapMs } = report;
      const wrong = Object.keys(keys).filter((key) => !this.#isOwn(key, role));
      t.diagnostic(
        `${role}: ${asked} attempts, ${sum(Object.values(keys))} answered, ${failures.length} failed (${kindsOf(failures)}), ${wrong.length} wrong, longest gap ${longestGapMs} ms`,
      );
      assert.deepEqual(
        wrong.map((key) => this.#cluster.world.sts.identify(key)?.roleArn),
        [],
      );
      assert.ok(longestGapMs < LONGEST_GAP_MS);
    }
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function kindsOf(failures: readonly { readonly how: string }[]): string {
  const counts = new Map<string, number>();
  for (const { how } of failures) counts.set(how, (counts.get(how) ?? 0) + 1);
  return [...counts].map(([how, count]) => `${count} ${how}`).join(', ');
}
