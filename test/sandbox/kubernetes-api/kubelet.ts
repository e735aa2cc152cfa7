import type { Clock } from '#runtime/clock.ts';
import { at, type JsonObject, listAt, objectAt, textAt, textsAt } from '../json.ts';
import { type AddressOrder, AddressPool } from './addresses.ts';
import type { StoredObject } from './objects.ts';
import type { Collection } from './store.ts';
import type { Objects } from './object-writer.ts';
import { NODES } from './resources.ts';
import { admits } from './scheduling.ts';

/** A pod as whoever builds its network sees it. */
export interface SandboxPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly addresses: readonly string[];
  readonly nodeName: string;
  readonly hostAddress: string;
  readonly hostNetwork: boolean;
  readonly annotations: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly spec: JsonObject;
}

export interface SandboxNode {
  readonly name: string;
  readonly address: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly JsonObject[];
}

/** Called for every pod whose network comes and goes. A hook that fails keeps the pod from running. */
export interface PodHooks {
  /**
   * The pod has its address; it is shown as running when the promise is settled, and as ready unless that says `unready`:
   * whoever runs its containers then says when it is.
   */
  readonly onPodRunning?: ((pod: SandboxPod) => Promise<void | 'unready'>) | undefined;
  /** The pod's processes have ended; its address is free again when the promise is settled. */
  readonly onPodGone?: ((pod: SandboxPod) => Promise<void>) | undefined;
}

export interface KubeletOptions extends PodHooks {
  readonly clock: Clock;
  readonly nodes: readonly SandboxNode[];
  /** Addresses and IPv4 networks. */
  readonly podAddresses: readonly string[];
  readonly addressOrder: AddressOrder;
  readonly timing: KubeletTiming;
}

export interface KubeletTiming {
  /** From a pod's creation to its status with an address. */
  readonly startDelayMs: number;
  /** From a deletion with a grace period to the pod's end; `never` keeps pods terminating until they are removed. */
  readonly terminationDelayMs: number | 'never';
}

const RETRY_MS = 200;

/** Scheduler, kubelet and network plug-in in one: gives pods a node, an address and, when they are deleted, an end. */
export class Kubelet {
  readonly #options: KubeletOptions;
  readonly #objects: Objects;
  readonly #pods: Collection;
  readonly #pool: AddressPool;
  /** Pods that have their addresses, and the promise of their network's being there; pods that were put have none. */
  readonly #running = new Map<
    string,
    { readonly pod: SandboxPod; readonly attached: Promise<void | 'unready'> | undefined }
  >();
  readonly #ending = new Set<string>();
  #timing: KubeletTiming;
  #nextNode = 0;
  #place = 0;
  #stopped = false;

  constructor(options: KubeletOptions, objects: Objects, pods: Collection) {
    this.#options = options;
    this.#objects = objects;
    this.#pods = pods;
    this.#pool = new AddressPool(options.podAddresses, options.addressOrder);
    this.#timing = options.timing;
    this.#place = pods.end;
    pods.subscribe(() => this.#onChanges());
    objects.onPodCreated((pod) => this.#after(this.#timing.startDelayMs, () => this.#start(pod)));
  }

  configure(timing: Partial<KubeletTiming>): void {
    this.#timing = { ...this.#timing, ...timing };
  }

  setAddressOrder(order: AddressOrder): void {
    this.#pool.setOrder(order);
  }

  stop(): void {
    this.#stopped = true;
  }

  #onChanges(): void {
    while (this.#place < this.#pods.end) {
      const change = this.#pods.changeAt(this.#place);
      this.#place += 1;
      if (change === undefined || this.#stopped) continue;
      const pod = change.now.object;
      const phase = textAt(pod.content, 'status', 'phase');
      // The addresses of a pod that has ended are free for others, although its status keeps showing them.
      if (change.type === 'DELETED' || phase === 'Succeeded' || phase === 'Failed') this.#forget(pod);
      else if (textAt(pod.content, 'status', 'podIP') !== '') this.#adopt(pod);
      // Only a deletion by the API has a grace period; a pod that was put as terminating stays so.
      if (change.type === 'MODIFIED' && pod.metadata.deletionGracePeriodSeconds !== undefined) this.#end(pod);
    }
  }

  async #start(pod: StoredObject): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    const current = this.#pods.get(namespace, name)?.object;
    const startable = current?.metadata.uid === uid && current.metadata.deletionTimestamp === undefined;
    if (!startable || textAt(current.content, 'status', 'podIP') !== '' || this.#running.has(uid)) return;
    const running = this.#admit(current);
    if (running === undefined) {
      this.#after(RETRY_MS, () => this.#start(pod));
      return;
    }
    const attached = Promise.resolve(this.#options.onPodRunning?.(running));
    this.#running.set(uid, { pod: running, attached });
    let readiness: void | 'unready';
    try {
      readiness = await attached;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#objects.setPodStatus(running, { phase: 'Failed', reason: 'FailedCreatePodSandBox', message });
      return;
    }
    if (this.#running.get(uid)?.pod === running)
      this.#objects.setPodStatus(running, runningStatus(running, this.#options.clock, readiness !== 'unready'));
  }

  /** A node and an address for a pod; undefined while no address is free. */
  #admit(pod: StoredObject): SandboxPod | undefined {
    const wanted = textAt(pod.content, 'spec', 'nodeName');
    const { nodes } = this.#options;
    const admitting = nodes.filter(({ name }) => this.#admits(name, pod));
    const node = nodes.find(({ name }) => name === wanted) ?? admitting[this.#nextNode % admitting.length];
    if (node === undefined) return undefined;
    this.#nextNode += 1;
    const hostNetwork = at(pod.content, 'spec', 'hostNetwork') === true;
    const address = hostNetwork ? node.address : this.#pool.take(pod.metadata.uid);
    return address === undefined ? undefined : describe(pod, { addresses: [address], node, hostNetwork });
  }

  #admits(nodeName: string, pod: StoredObject): boolean {
    const node = this.#objects.collection(NODES).get('', nodeName);
    return node !== undefined && admits(node.object, objectAt(pod.content, 'spec'));
  }

  /** A pod that was put with addresses of its own choice, or whose addresses were changed. */
  #adopt(pod: StoredObject): void {
    const { uid } = pod.metadata;
    const before = this.#running.get(uid);
    const listed = listAt(pod.content, 'status', 'podIPs').map((entry) => textAt(entry, 'ip'));
    const addresses = listed.length > 0 ? listed : [textAt(pod.content, 'status', 'podIP')];
    if (before?.pod.addresses.join() === addresses.join()) return;
    for (const address of before?.pod.addresses ?? []) this.#pool.giveBack(address, uid);
    for (const address of addresses) this.#pool.note(address, uid);
    const name = textAt(pod.content, 'spec', 'nodeName');
    const node = { name, address: textAt(pod.content, 'status', 'hostIP') };
    const hostNetwork = at(pod.content, 'spec', 'hostNetwork') === true;
    this.#running.set(uid, { pod: describe(pod, { addresses, node, hostNetwork }), attached: before?.attached });
  }

  #end(pod: StoredObject): void {
    const { uid } = pod.metadata;
    const { terminationDelayMs } = this.#timing;
    if (terminationDelayMs === 'never' || this.#ending.has(uid)) return;
    this.#ending.add(uid);
    this.#after(terminationDelayMs, async () => {
      await this.#release(uid);
      this.#ending.delete(uid);
      this.#objects.finishPod(pod.metadata.namespace, pod.metadata.name, uid);
    });
  }

  /** The pod ended, or went without waiting for the kubelet. */
  #forget(pod: StoredObject): void {
    this.#after(0, () => this.#release(pod.metadata.uid));
  }

  async #release(uid: string): Promise<void> {
    const running = this.#running.get(uid);
    if (running === undefined) return;
    this.#running.delete(uid);
    try {
      if (running.attached !== undefined) {
        await running.attached.catch(() => {});
        await this.#options.onPodGone?.(running.pod);
      }
    } finally {
      for (const address of running.pod.addresses) this.#pool.giveBack(address, uid);
    }
  }

  /** Hooks fail for reasons of their own; they must not end the stand-in. */
  #after(delayMs: number, task: () => void | Promise<void>): void {
    this.#options.clock.after(delayMs, () => {
      if (!this.#stopped) Promise.resolve(task()).catch(() => {});
    });
  }
}

function describe(
  pod: StoredObject,
  where: { addresses: readonly string[]; node: SandboxNode; hostNetwork: boolean },
): SandboxPod {
  const { namespace, name, uid } = pod.metadata;
  return {
    namespace,
    name,
    uid,
    addresses: where.addresses,
    nodeName: where.node.name,
    hostAddress: where.node.address,
    hostNetwork: where.hostNetwork,
    annotations: textsAt(pod.metadata, 'annotations'),
    labels: textsAt(pod.metadata, 'labels'),
    spec: objectAt(pod.content, 'spec'),
  };
}

function runningStatus(pod: SandboxPod, clock: Clock, ready: boolean): JsonObject {
  const now = `${new Date(clock.now()).toISOString().slice(0, 19)}Z`;
  return {
    phase: 'Running',
    hostIP: pod.hostAddress,
    hostIPs: [{ ip: pod.hostAddress }],
    podIP: pod.addresses[0] ?? '',
    podIPs: pod.addresses.map((ip) => ({ ip })),
    startTime: now,
    conditions: ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(
      (type) => ({
        type,
        status: ready || !type.endsWith('Ready') ? 'True' : 'False',
        lastTransitionTime: now,
      }),
    ),
  };
}
