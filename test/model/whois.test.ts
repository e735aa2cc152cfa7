import assert from 'node:assert/strict';
import { test } from 'node:test';

import { type AuditLog, createAuditLog } from '#agent/audit-log.ts';
import { StsCredentialCache } from '#aws/credential-cache.ts';
import { createLineFinder } from '#bin/whois.ts';
import { plainSessions, type SessionRules } from '#domain/attribution.ts';
import { parseAuditLine } from '#domain/audit-line.ts';
import { metadataCredentials } from '#domain/credentials.ts';
import { identityOf, sessionNameOf } from '#domain/identity.ts';
import type { PodRecord } from '#domain/pod.ts';
import { collectWhois } from '#server/whois/collect.ts';

import { ManualClock } from '../support/manual-clock.ts';
import { podRecord } from '../support/pods.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { repeatableRandom } from '../unit/aws/scripted-sts.ts';

const SETS = 20_000;
const REPLICAS = 3;
const NODES = 10;
const PODS = 400;
const SHARED_ROLES = 40;
const HOUR_MS = 3_600_000;
const STEP_MS = 300_000;
const BASE = 'arn:aws:iam::123456789012:role/';

/** Three servers and ten agents, each of which is replaced now and then; pods come and go, half of them with sessions of their own. */
class World {
  readonly clock = new ManualClock();
  readonly random = repeatableRandom();
  readonly lines: string[] = [];
  /** What was served: the UIDs of the pods for each access key id. */
  readonly truth = new Map<string, Set<string>>();
  readonly #shared: SessionRules = plainSessions('kiam');
  readonly #own: SessionRules = { ...plainSessions('kiam'), tags: 'pod' };
  issued = 0;
  replicas = Array.from({ length: REPLICAS }, () => this.#startReplica());
  agents = Array.from({ length: NODES }, () => this.#startAgent());
  pods = Array.from({ length: PODS }, (_, index) => this.#newPod(index));
  #podCount = PODS;

  #startReplica(): StsCredentialCache {
    return new StsCredentialCache({
      sts: {
        assumeRole: () => {
          this.issued += 1;
          const nowMs = this.clock.now();
          const value = {
            accessKeyId: `ASIA${String(this.issued).padStart(16, '0')}`,
            secretAccessKey: 'SECRET',
            sessionToken: 'TOKEN',
            issuedAtMs: nowMs,
            expiresAtMs: nowMs + HOUR_MS,
          };
          return Promise.resolve({ ok: true, value, grantedMs: HOUR_MS, clockOffsetMs: 0, packedPolicyPercent: 0 });
        },
      },
      clock: this.clock,
      logger: recordingLogger().logger,
      sessionRefreshMs: 0,
      defaultSessionName: 'kiam',
      random: this.random,
    });
  }

  #startAgent(): AuditLog {
    return createAuditLog({ clock: this.clock, write: (line) => void this.lines.push(line) });
  }

  #newPod(index: number): PodRecord {
    const role = `role-${index % SHARED_ROLES}`;
    return podRecord({ uid: `uid-${index}`, name: `pod-${index}`, role, nodeName: String(index % NODES) });
  }

  identify(pod: PodRecord) {
    return identityOf(pod, BASE + pod.role, Number(pod.name.slice(4)) % 2 === 0 ? this.#own : this.#shared);
  }

  async step(): Promise<void> {
    const some = (count: number): number => Math.floor(this.random() * count);
    for (const replica of this.replicas) {
      replica.retain(this.pods.map((pod) => ({ identity: this.identify(pod), isRenewed: true })));
    }
    for (const pod of this.pods) {
      const identity = this.identify(pod);
      const outcome = await this.replicas[some(REPLICAS)]?.get(identity, 'request', new AbortController().signal);
      if (outcome?.ok !== true) continue;
      const { accessKeyId } = outcome.value;
      this.truth.set(accessKeyId, (this.truth.get(accessKeyId) ?? new Set()).add(pod.uid));
      const sessionName = sessionNameOf(identity);
      this.agents[Number(pod.nodeName)]?.(
        { ...pod, roleArn: identity.roleArn, sessionName },
        metadataCredentials(outcome.value),
      );
    }
    await this.clock.advance(STEP_MS);
    if (this.random() < 0.2) this.agents[some(NODES)] = this.#startAgent();
    if (this.random() < 0.1) {
      const index = some(REPLICAS);
      this.replicas[index]?.close();
      this.replicas[index] = this.#startReplica();
    }
    for (let gone = 0; gone < 8; gone += 1) {
      this.pods[some(PODS)] = this.#newPod(this.#podCount);
      this.#podCount += 1;
    }
  }
}

test('each of 20,000 sets is found again with all pods that were served it and no other, across three replicas and restarts', async (t) => {
  const world = new World();
  while (world.issued < SETS) await world.step();
  const found = new Map<string, Set<string>>();
  for (const text of world.lines) {
    const line = parseAuditLine(text);
    assert.ok(line !== undefined, text);
    found.set(line.accessKeyId, (found.get(line.accessKeyId) ?? new Set()).add(line.uid));
    assert.doesNotMatch(text, /SECRET|TOKEN/);
  }
  let served = 0;
  for (const [key, uids] of world.truth) {
    served += 1;
    assert.deepEqual([...(found.get(key) ?? [])].toSorted(), [...uids].toSorted(), key);
  }
  assert.equal(found.size, world.truth.size);
  // As `kiam whois` reads them, of some keys: each reads all lines.
  for (const [key, uids] of [...world.truth].filter((_, index) => index % 500 === 0)) {
    const finder = createLineFinder(key, undefined);
    for (const text of world.lines) finder.read(text);
    assert.deepEqual(
      finder
        .lines()
        .map(({ uid }) => uid)
        .toSorted(),
      [...uids].toSorted(),
    );
  }
  // A server names the pods that have a session now, and that before its renewal, by its memory alone.
  let known = 0;
  let inMemory = 0;
  for (const credentials of world.replicas) {
    for (const key of [...world.truth.keys()].slice(-3000)) {
      const issuedTo = credentials.issuedTo(key);
      if (issuedTo === undefined) continue;
      known += 1;
      if (known % 50 !== 0) continue;
      const { pods, sessionName } = await collectWhois(
        {
          server: 'one',
          pods: { pods: () => world.pods },
          identify: (pod) => world.identify(pod),
          credentials,
          servesTokens: false,
          awaitTurn: () => Promise.resolve(),
        },
        key,
      );
      inMemory += 1;
      const present = [...(world.truth.get(key) ?? [])].filter((uid) => world.pods.some((pod) => pod.uid === uid));
      assert.equal(sessionName, sessionNameOf(issuedTo.identity));
      assert.deepEqual(
        present.filter((uid) => !pods.some((pod) => pod.uid === uid)),
        [],
        key,
      );
      assert.ok(pods.every(({ accessKeyId, roleArn }) => accessKeyId === key && roleArn === issuedTo.identity.roleArn));
    }
  }
  assert.ok(inMemory > 10, `${inMemory} of ${known}`);
  t.diagnostic(
    `${world.issued} sets issued, ${served} of them served to a pod and all found; ${world.lines.length} lines; ${known} sets known to servers`,
  );
  for (const replica of world.replicas) replica.close();
});
