import type { Evidence } from '#agent/ports.ts';
import type { PodRecord, PodReading } from '#domain/pod.ts';
import { PodCache } from '#kubernetes/pod-cache.ts';

import type { ManualClock } from '../support/manual-clock.ts';
import { recordingLogger } from '../support/recording-logger.ts';

/** One change at the API server: a pod as it is from then on, or its end. */
interface ApiEvent {
  readonly atMs: number;
  readonly pod: PodRecord;
  readonly isEnd: boolean;
}

/** What is so, whatever anybody has heard of it: the API server's pods, and who has which address in the node's kernel. */
export class Truth {
  readonly clock: ManualClock;
  readonly events: ApiEvent[] = [];
  /** Whether servers of ours reach the API server: reads, and what watches deliver. */
  isApiInReach = true;
  isStsInReach = true;
  readonly #pods = new Map<string, PodRecord>();
  readonly #interfaces = new Map<string, string>();
  #interfaceCount = 0;
  #version = 0;

  constructor(clock: ManualClock) {
    this.clock = clock;
  }

  put(pod: PodRecord): void {
    this.#version += 1;
    const record = { ...pod, resourceVersion: String(this.#version) };
    this.#pods.set(pod.name, record);
    this.events.push({ atMs: this.clock.monotonic(), pod: record, isEnd: false });
  }

  remove(name: string): void {
    const pod = this.#pods.get(name);
    if (pod === undefined) return;
    this.#pods.delete(name);
    this.events.push({ atMs: this.clock.monotonic(), pod, isEnd: true });
  }

  pods(): readonly PodRecord[] {
    return [...this.#pods.values()];
  }

  read(name: string): PodReading {
    if (!this.isApiInReach) return { kind: 'unknown', reason: 'the API server is out of reach' };
    const pod = this.#pods.get(name);
    return pod === undefined ? { kind: 'gone' } : { kind: 'found', pod };
  }

  /** A new sandbox has the address: another interface than any before. */
  plug(address: string): void {
    this.#interfaceCount += 1;
    this.#interfaces.set(address, `interface-${this.#interfaceCount}`);
  }

  /** Whether the interface of this key is there: it goes with its sandbox. */
  isPlugged(key: string): boolean {
    return [...this.#interfaces.values()].includes(key);
  }

  evidence(address: string): Evidence {
    const key = this.#interfaces.get(address);
    return key === undefined ? { kind: 'none', reason: 'no interface' } : { kind: 'interface', key };
  }
}

/** What one server has heard of the truth, by a watch that is late by a constant time. It begins with a whole list. */
export class View {
  readonly pods = new PodCache({ logger: recordingLogger().logger });
  readonly #truth: Truth;
  readonly #delayMs: number;
  #next: number;
  #heardMs: number;

  constructor(truth: Truth, delayMs: number) {
    this.#truth = truth;
    this.#delayMs = delayMs;
    this.#next = truth.events.length;
    this.#heardMs = truth.clock.monotonic();
    for (const pod of truth.pods()) this.pods.upsert(pod);
  }

  /** Takes in what has become due. */
  hear(): void {
    const nowMs = this.#truth.clock.monotonic();
    if (!this.#truth.isApiInReach) return;
    this.#heardMs = nowMs;
    for (let event = this.#due(nowMs); event !== undefined; event = this.#due(nowMs)) {
      this.#next += 1;
      if (event.isEnd) this.pods.remove(event.pod.uid);
      else this.pods.upsert(event.pod);
    }
  }

  /** Everything before so long ago has been heard: the youngest age that an honest server could find out. */
  ageMs(): number {
    return (
      this.#truth.clock.monotonic() - Math.min(this.#heardMs, this.#truth.events[this.#next]?.atMs ?? this.#heardMs)
    );
  }

  #due(nowMs: number): ApiEvent | undefined {
    const event = this.#truth.events[this.#next];
    return event !== undefined && event.atMs + this.#delayMs <= nowMs ? event : undefined;
  }
}
