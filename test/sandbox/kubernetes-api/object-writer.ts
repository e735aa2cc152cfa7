import { randomUUID } from 'node:crypto';
import type { Clock } from '#runtime/clock.ts';
import { type Json, type JsonObject, objectAt, textAt } from '../json.ts';
import { ApiError, badRequest, alreadyExists, conflict, notFound } from './api-error.ts';
import { checkPreconditions, graceOf, merged, randomSuffix, timestamp, withGrace } from './object-rules.ts';
import { readContent, readMetadata, type StoredObject, toJson } from './objects.ts';
import { applyPatch } from './patch.ts';
import { apiVersionOf, NAMESPACES, PODS, type Resource, RESOURCES } from './resources.ts';
import { Collection, Revisions, type Version } from './store.ts';
import { decodeObject, validate, withDefaults } from './validation.ts';

export interface Target {
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
  /** `''` or `status`. */
  readonly subresource: string;
}

/** A pod that the kubelet has given a node. */
export interface PlacedPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly nodeName: string;
}

export interface DeleteOptions {
  /** Undefined leaves it to the pod. */
  readonly graceSeconds: number | undefined;
  readonly uid: string;
  readonly resourceVersion: string;
}

/** Creates, changes and deletes objects by the API server's rules. Throws {@link ApiError}. */
export class Objects {
  readonly revisions = new Revisions();
  readonly #collections = new Map<Resource, Collection>();
  readonly #podListeners: ((pod: StoredObject) => void)[] = [];
  readonly #clock: Clock;

  constructor(options: { clock: Clock; window: number }) {
    this.#clock = options.clock;
    for (const resource of RESOURCES) {
      this.#collections.set(resource, new Collection({ resource, revisions: this.revisions, window: options.window }));
    }
  }

  collection(resource: Resource): Collection {
    const collection = this.#collections.get(resource);
    if (collection === undefined) throw new RangeError(`no resource ${resource.name}`);
    return collection;
  }

  get({ resource, namespace, name }: Target): Version {
    const version = this.collection(resource).get(resource.namespaced ? namespace : '', name);
    if (version === undefined) throw notFound(resource, name);
    return version;
  }

  create(resource: Resource, namespace: string, body: JsonObject, dryRun = false): Version | StoredObject {
    const decoded = decodeObject(resource, body);
    const wanted = decoded.metadata.namespace || namespace;
    if (resource.namespaced && wanted !== namespace) {
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
    }
    const prefix = textAt(body, 'metadata', 'generateName');
    const name = decoded.metadata.name || (prefix === '' ? '' : prefix + randomSuffix());
    const object = withDefaults(resource, {
      metadata: {
        ...decoded.metadata,
        name,
        namespace: resource.namespaced ? namespace : '',
        uid: randomUUID(),
        creationTimestamp: this.#now(),
        deletionTimestamp: undefined,
        others: prefix === '' ? decoded.metadata.others : { ...decoded.metadata.others, generateName: prefix },
      },
      content: decoded.content,
    });
    validate(resource, object);
    if (resource.namespaced) this.#checkNamespace(resource, namespace, name);
    const collection = this.collection(resource);
    if (collection.get(object.metadata.namespace, name) !== undefined) throw alreadyExists(resource, name);
    if (dryRun) return object;
    const created = collection.put(object);
    if (resource === PODS) for (const listener of this.#podListeners) listener(created.object);
    return created;
  }

  /** Calls back for pods that are created by the API's rules, not for those that are put. */
  onPodCreated(listener: (pod: StoredObject) => void): void {
    this.#podListeners.push(listener);
  }

  update(target: Target, body: JsonObject, dryRun = false): Version | StoredObject {
    const { resource, namespace, name } = target;
    const decoded = decodeObject(resource, body);
    if (decoded.metadata.name !== name) throw badRequest('the name of the object does not match the name on the URL');
    if (resource.namespaced && decoded.metadata.namespace !== '' && decoded.metadata.namespace !== namespace) {
      throw badRequest('the namespace of the object does not match the namespace on the request');
    }
    return this.#replace(target, this.get(target), decoded, dryRun);
  }

  patch(target: Target, mediaType: string, patch: Json | undefined, dryRun = false): Version | StoredObject {
    const { resource } = target;
    const current = this.get(target);
    const before = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...toJson(current.object) };
    const decoded = decodeObject(resource, applyPatch(mediaType, before, patch));
    if (decoded.metadata.name !== target.name)
      throw badRequest('the name of the object does not match the name on the URL');
    return this.#replace(target, current, decoded, dryRun);
  }

  /** Deletes at once, or marks a pod or namespace that ends later. Returns what is left, or the last of it. */
  delete(target: Target, options: DeleteOptions, dryRun = false): Version {
    const { resource } = target;
    const current = this.get(target);
    const { metadata } = current.object;
    checkPreconditions(resource, current.object, options);
    if (dryRun) return current;
    if (resource === NAMESPACES) return this.#deleteNamespace(current);
    const graceSeconds = resource === PODS ? graceOf(current.object, options.graceSeconds) : 0;
    if (graceSeconds === 0 && metadata.finalizers === undefined) {
      // A pod is marked first also when it goes at once: a watch sees it modified and then deleted.
      if (resource === PODS) this.collection(PODS).put(this.#marked(current.object, 0));
      return this.#remove(target) ?? current;
    }
    if (metadata.deletionTimestamp !== undefined && graceSeconds >= (metadata.deletionGracePeriodSeconds ?? 0))
      return current;
    return this.collection(resource).put(this.#marked(current.object, graceSeconds));
  }

  /** Stores an object exactly as it is given, with or without uid: whatever a test wants to have stood there. */
  put(resource: Resource, body: JsonObject): Version {
    const metadata = readMetadata(body);
    const collection = this.collection(resource);
    const namespace = resource.namespaced ? metadata.namespace || 'default' : '';
    const before = collection.get(namespace, metadata.name)?.object.metadata;
    return collection.put({
      metadata: {
        ...metadata,
        namespace,
        uid: metadata.uid || before?.uid || randomUUID(),
        creationTimestamp: metadata.creationTimestamp || before?.creationTimestamp || this.#now(),
      },
      content: readContent(body),
    });
  }

  /** Ends a pod that the kubelet has stopped, unless its finalizers keep it. */
  finishPod(namespace: string, name: string, uid: string): void {
    const current = this.collection(PODS).get(namespace, name)?.object;
    if (current === undefined || current.metadata.uid !== uid) return;
    this.collection(PODS).put(withGrace(current, 0));
    if (current.metadata.finalizers === undefined) this.#remove({ resource: PODS, namespace, name, subresource: '' });
  }

  /** The kubelet's word on a pod; nothing happens when the pod is gone. */
  setPodStatus(pod: PlacedPod, status: JsonObject): void {
    const collection = this.collection(PODS);
    const current = collection.get(pod.namespace, pod.name)?.object;
    if (current?.metadata.uid !== pod.uid) return;
    const spec = { ...objectAt(current.content, 'spec'), nodeName: pod.nodeName };
    collection.put({
      ...current,
      content: { ...current.content, spec, status: { ...objectAt(current.content, 'status'), ...status } },
    });
  }

  #replace(target: Target, current: Version, wanted: StoredObject, dryRun: boolean): Version | StoredObject {
    const { resource, name, subresource } = target;
    const { metadata } = current.object;
    if (wanted.metadata.resourceVersion !== '' && wanted.metadata.resourceVersion !== metadata.resourceVersion) {
      throw conflict(resource, name);
    }
    checkPreconditions(resource, current.object, { uid: wanted.metadata.uid, resourceVersion: '' });
    const next = merged(resource, current.object, wanted, subresource);
    validate(resource, next);
    if (dryRun) return next;
    // A write that changes nothing makes no new version and no event.
    if (JSON.stringify(toJson(next)) === current.itemJson) return current;
    const stored = this.collection(resource).put(next);
    const ended = next.metadata.deletionTimestamp !== undefined && next.metadata.finalizers === undefined;
    if (ended && (next.metadata.deletionGracePeriodSeconds ?? 0) === 0 && resource !== NAMESPACES)
      return this.#remove(target) ?? stored;
    return stored;
  }

  #remove({ resource, namespace, name }: Target): Version | undefined {
    const last = this.collection(resource).remove(resource.namespaced ? namespace : '', name);
    if (resource.namespaced) this.#finishNamespace(namespace);
    return last;
  }

  #deleteNamespace(current: Version): Version {
    const { name } = current.object.metadata;
    const marked = this.#marked(current.object, 0);
    const version = this.collection(NAMESPACES).put({
      ...marked,
      content: { ...marked.content, status: { phase: 'Terminating' } },
    });
    for (const resource of RESOURCES.filter(({ namespaced }) => namespaced)) {
      const names = [...this.collection(resource).versions()].filter(
        ({ object }) => object.metadata.namespace === name,
      );
      for (const { object } of names) {
        const target = { resource, namespace: name, name: object.metadata.name, subresource: '' };
        this.delete(target, { graceSeconds: undefined, uid: '', resourceVersion: '' });
      }
    }
    this.#finishNamespace(name);
    return version;
  }

  /** A namespace that is being deleted goes with the last of its objects. */
  #finishNamespace(name: string): void {
    const namespaces = this.collection(NAMESPACES);
    if (namespaces.get('', name)?.object.metadata.deletionTimestamp === undefined) return;
    for (const resource of RESOURCES.filter(({ namespaced }) => namespaced)) {
      for (const { object } of this.collection(resource).versions()) if (object.metadata.namespace === name) return;
    }
    namespaces.remove('', name);
  }

  #checkNamespace(resource: Resource, namespace: string, name: string): void {
    const found = this.collection(NAMESPACES).get('', namespace);
    if (found === undefined) throw notFound(NAMESPACES, namespace);
    if (found.object.metadata.deletionTimestamp !== undefined) {
      const message = `${resource.name} "${name}" is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`;
      throw new ApiError(403, 'Forbidden', message);
    }
  }

  #marked(object: StoredObject, graceSeconds: number): StoredObject {
    const deletionTimestamp = timestamp(this.#clock.now() + graceSeconds * 1000);
    return withGrace({ ...object, metadata: { ...object.metadata, deletionTimestamp } }, graceSeconds);
  }

  #now(): string {
    return timestamp(this.#clock.now());
  }
}
