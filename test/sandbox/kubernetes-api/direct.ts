import type { JsonObject } from '../json.ts';
import type { Objects, Target } from './object-writer.ts';
import { type StoredObject, toJson } from './objects.ts';
import {
  apiVersionOf,
  EVENTS,
  NAMESPACES,
  NODES,
  PODS,
  type Resource,
  SECRETS,
  SERVICE_ACCOUNTS,
} from './resources.ts';
import type { Version } from './store.ts';

/** The objects as whoever holds the sandbox in the hand works on them: without HTTP, without rules of access. */
export interface DirectAccess {
  /** Creates by the API's rules: a pod gets an address a moment later. Throws an `ApiError`. */
  createPod(namespace: string, pod: JsonObject): JsonObject;
  createNamespace(namespace: JsonObject): JsonObject;
  createServiceAccount(namespace: string, name: string, annotations?: JsonObject): JsonObject;
  patchServiceAccount(namespace: string, name: string, patch: JsonObject): JsonObject;
  deleteServiceAccount(namespace: string, name: string): void;
  /** Stores a pod exactly as given, with its status; the kubelet leaves it alone. Replaces one of the same name. */
  putPod(pod: JsonObject): JsonObject;
  /** Stores a namespace exactly as given. */
  putNamespace(namespace: JsonObject): JsonObject;
  /** Changes a pod by a merge patch (RFC 7386); its status too when the patch has one. */
  patchPod(namespace: string, name: string, patch: JsonObject): JsonObject;
  patchNamespace(name: string, patch: JsonObject): JsonObject;
  /** Deletes as `kubectl delete` does: the pod terminates first. */
  deletePod(namespace: string, name: string): void;
  /** Deletes at once, without grace. Does nothing when there is no such pod. */
  removePod(namespace: string, name: string): void;
  /** Deletes a namespace and all that is in it, as `kubectl delete` does. */
  deleteNamespace(name: string): void;
  pod(namespace: string, name: string): JsonObject | undefined;
  pods(): readonly JsonObject[];
  namespace(name: string): JsonObject | undefined;
  node(name: string): JsonObject | undefined;
  /** Changes a Node by a merge patch (RFC 7386), but for its status. */
  patchNode(name: string, patch: JsonObject): JsonObject;
  secret(namespace: string, name: string): JsonObject | undefined;
  /** The Events that were recorded, in the order of namespace and name. */
  events(): readonly JsonObject[];
  /** Resolves with the pod once `condition` holds; rejects when `signal` aborts first. */
  waitForPod(options: PodWait): Promise<JsonObject>;
}

export interface PodWait {
  readonly namespace: string;
  readonly name: string;
  readonly signal: AbortSignal;
  readonly condition: (pod: JsonObject) => boolean;
}

const MERGE = 'application/merge-patch+json';
const NO_OPTIONS = { graceSeconds: undefined, uid: '', resourceVersion: '' } as const;

export function directAccess(objects: Objects): DirectAccess {
  const pods = objects.collection(PODS);
  const create = (resource: Resource, namespace: string, object: JsonObject): JsonObject =>
    whole(resource, objects.create(resource, namespace, object));
  const target = (resource: Resource, namespace: string, name: string, subresource = ''): Target => ({
    resource,
    namespace,
    name,
    subresource,
  });
  const pod = (namespace: string, name: string): JsonObject | undefined => {
    const found = pods.get(namespace, name);
    return found === undefined ? undefined : whole(PODS, found);
  };
  return {
    createPod: (namespace, object) => create(PODS, namespace, object),
    createNamespace: (object) => create(NAMESPACES, '', object),
    createServiceAccount: (namespace, name, annotations = {}) =>
      create(SERVICE_ACCOUNTS, namespace, { metadata: { name, annotations } }),
    patchServiceAccount: (namespace, name, patch) =>
      whole(SERVICE_ACCOUNTS, objects.patch(target(SERVICE_ACCOUNTS, namespace, name), MERGE, patch)),
    deleteServiceAccount: (namespace, name) => {
      objects.delete(target(SERVICE_ACCOUNTS, namespace, name), NO_OPTIONS);
    },
    putPod: (object) => whole(PODS, objects.put(PODS, object)),
    putNamespace: (object) => whole(NAMESPACES, objects.put(NAMESPACES, object)),
    patchPod: (namespace, name, { status, ...rest }) => {
      if (status !== undefined) objects.patch(target(PODS, namespace, name, 'status'), MERGE, { status });
      return whole(PODS, objects.patch(target(PODS, namespace, name), MERGE, rest));
    },
    patchNamespace: (name, patch) => whole(NAMESPACES, objects.patch(target(NAMESPACES, '', name), MERGE, patch)),
    deletePod: (namespace, name) => {
      objects.delete(target(PODS, namespace, name), NO_OPTIONS);
    },
    removePod: (namespace, name) => {
      if (pods.get(namespace, name) !== undefined)
        objects.delete(target(PODS, namespace, name), { ...NO_OPTIONS, graceSeconds: 0 });
    },
    deleteNamespace: (name) => {
      objects.delete(target(NAMESPACES, '', name), NO_OPTIONS);
    },
    pod,
    pods: () => pods.sorted().map((version) => whole(PODS, version)),
    namespace: (name) => {
      const found = objects.collection(NAMESPACES).get('', name);
      return found === undefined ? undefined : whole(NAMESPACES, found);
    },
    node: (name) => {
      const found = objects.collection(NODES).get('', name);
      return found === undefined ? undefined : whole(NODES, found);
    },
    patchNode: (name, patch) => whole(NODES, objects.patch(target(NODES, '', name), MERGE, patch)),
    secret: (namespace, name) => {
      const found = objects.collection(SECRETS).get(namespace, name);
      return found === undefined ? undefined : whole(SECRETS, found);
    },
    events: () =>
      objects
        .collection(EVENTS)
        .sorted()
        .map((version) => whole(EVENTS, version)),
    waitForPod: ({ namespace, name, signal, condition }) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = pod(namespace, name);
          if (found !== undefined && condition(found)) finish(() => resolve(found));
        };
        const abort = (): void => finish(() => reject(new Error(`pod ${namespace}/${name} was not seen as expected`)));
        const finish = (settle: () => void): void => {
          unsubscribe();
          signal.removeEventListener('abort', abort);
          settle();
        };
        const unsubscribe = pods.subscribeTo(namespace, name, look);
        signal.addEventListener('abort', abort, { once: true });
        if (signal.aborted) abort();
        else look();
      }),
  };
}

function whole(resource: Resource, made: Version | StoredObject): JsonObject {
  const object = 'object' in made ? made.object : made;
  return { kind: resource.kind, apiVersion: apiVersionOf(resource), ...toJson(object) };
}
