import type { Clock } from '#runtime/clock.ts';
import { at, type JsonObject, objectAt, textAt, textsAt } from '../json.ts';
import type { Objects, Target } from './object-writer.ts';
import type { StoredObject } from './objects.ts';
import { CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS, type Resource } from './resources.ts';
import { admits, isReady } from './scheduling.ts';
import { HASH_LABEL, isOwnedBy, keepRevision, ownerReference } from './template-revisions.ts';

const NO_OPTIONS = { graceSeconds: undefined, uid: '', resourceVersion: '' } as const;

/**
 * Carries DaemonSets out: one pod on each node that admits it, old pods replaced by new ones as the update strategy says, and
 * a status that `kubectl rollout status` waits for. Pods become available the moment they are ready, and never two are on a
 * node (no surge): https://kubernetes.io/docs/tasks/manage-daemon/update-daemon-set/
 */
export class DaemonSets {
  readonly #objects: Objects;
  readonly #clock: Clock;
  readonly #owned = new Set<string>();
  #isDue = false;
  #stopped = false;

  constructor(clock: Clock, objects: Objects) {
    this.#clock = clock;
    this.#objects = objects;
    for (const resource of [DAEMON_SETS, PODS, NODES]) objects.collection(resource).subscribe(() => this.#soon());
  }

  stop(): void {
    this.#stopped = true;
  }

  /** After the change that is being made, and once for many. */
  #soon(): void {
    const isIdle = this.#owned.size === 0 && this.#objects.collection(DAEMON_SETS).size === 0;
    if (this.#isDue || isIdle) return;
    this.#isDue = true;
    this.#clock.after(0, () => {
      this.#isDue = false;
      if (!this.#stopped) this.#carryOut();
    });
  }

  #carryOut(): void {
    const daemonSets = this.#all(DAEMON_SETS);
    const living = new Set(daemonSets.map(({ metadata }) => metadata.uid));
    for (const uid of this.#owned) if (!living.has(uid)) this.#collectGarbage(uid);
    for (const daemonSet of daemonSets) {
      this.#owned.add(daemonSet.metadata.uid);
      this.#update(daemonSet);
    }
  }

  #update(daemonSet: StoredObject): void {
    const hash = keepRevision(this.#objects, daemonSet);
    const spec = objectAt(daemonSet.content, 'spec');
    const podSpec = objectAt(spec, 'template', 'spec');
    const pods = this.#podsOf(daemonSet);
    const nodes = this.#all(NODES).filter((node) => admits(node, podSpec));
    const wanted = new Set(nodes.map(({ metadata }) => metadata.name));
    for (const pod of pods.filter((pod) => !wanted.has(nodeOf(pod)))) this.#delete(PODS, pod);
    for (const name of wanted)
      if (!pods.some((pod) => nodeOf(pod) === name)) this.#createPod(daemonSet, podSpec, name, hash);
    if (textAt(spec, 'updateStrategy', 'type') !== 'OnDelete') this.#replaceOld(spec, wanted, pods, hash);
    this.#report(daemonSet, wanted, hash);
  }

  /** Old pods that serve nobody go at once, others as long as enough are left, in the order of their nodes. */
  #replaceOld(spec: JsonObject, wanted: ReadonlySet<string>, pods: readonly StoredObject[], hash: string): void {
    const maxUnavailable = Number(at(spec, 'updateStrategy', 'rollingUpdate', 'maxUnavailable') ?? 1);
    const available = pods.filter((pod) => wanted.has(nodeOf(pod)) && isReady(pod));
    const old = pods
      .filter((pod) => wanted.has(nodeOf(pod)) && hashOf(pod) !== hash && !isEnding(pod))
      .toSorted((left, right) => (nodeOf(left) < nodeOf(right) ? -1 : 1));
    for (const pod of old.filter((pod) => !isReady(pod))) this.#delete(PODS, pod);
    const spare = Math.max(0, maxUnavailable - (wanted.size - available.length));
    for (const pod of old.filter(isReady).slice(0, spare)) this.#delete(PODS, pod);
  }

  #report(daemonSet: StoredObject, wanted: ReadonlySet<string>, hash: string): void {
    const pods = this.#podsOf(daemonSet).filter((pod) => wanted.has(nodeOf(pod)) && !isEnding(pod));
    const ready = pods.filter(isReady).length;
    const status = {
      observedGeneration: Number(at(daemonSet.metadata.others, 'generation') ?? 1),
      desiredNumberScheduled: wanted.size,
      currentNumberScheduled: pods.length,
      updatedNumberScheduled: pods.filter((pod) => hashOf(pod) === hash).length,
      numberReady: ready,
      numberAvailable: ready,
      numberUnavailable: wanted.size - ready,
      numberMisscheduled: 0,
    };
    const target = { ...targetOf(DAEMON_SETS, daemonSet), subresource: 'status' };
    this.#objects.patch(target, 'application/merge-patch+json', { status });
  }

  #createPod(daemonSet: StoredObject, podSpec: JsonObject, nodeName: string, hash: string): void {
    const { name, namespace } = daemonSet.metadata;
    const template = objectAt(daemonSet.content, 'spec', 'template', 'metadata');
    this.#objects.create(PODS, namespace, {
      metadata: {
        generateName: `${name}-`,
        labels: { ...textsAt(template, 'labels'), [HASH_LABEL]: hash },
        annotations: textsAt(template, 'annotations'),
        ownerReferences: [ownerReference(daemonSet)],
      },
      spec: { ...podSpec, nodeName },
    });
  }

  #collectGarbage(uid: string): void {
    this.#owned.delete(uid);
    for (const resource of [PODS, CONTROLLER_REVISIONS]) {
      for (const object of this.#all(resource)) {
        if (isOwnedBy(object.metadata.others, uid)) this.#delete(resource, object);
      }
    }
  }

  #delete(resource: Resource, object: StoredObject): void {
    if (!isEnding(object)) this.#objects.delete(targetOf(resource, object), NO_OPTIONS);
  }

  #podsOf({ metadata: { uid } }: StoredObject): StoredObject[] {
    return this.#all(PODS).filter(({ metadata }) => isOwnedBy(metadata.others, uid));
  }

  #all(resource: Resource): StoredObject[] {
    return this.#objects
      .collection(resource)
      .sorted()
      .map(({ object }) => object);
  }
}

function targetOf(resource: Resource, { metadata: { namespace, name } }: StoredObject): Target {
  return { resource, namespace, name, subresource: '' };
}

function nodeOf(pod: StoredObject): string {
  return textAt(pod.content, 'spec', 'nodeName');
}

function hashOf(pod: StoredObject): string {
  return pod.metadata.labels?.[HASH_LABEL] ?? '';
}

function isEnding({ metadata }: StoredObject): boolean {
  return metadata.deletionTimestamp !== undefined;
}
