import { randomBytes } from 'node:crypto';
import { MIRROR_ANNOTATION } from '#domain/pod.ts';
import { at, type JsonObject, textAt } from '../json.ts';
import { conflict, invalid } from './api-error.ts';
import type { StoredObject } from './objects.ts';
import { DAEMON_SETS, PODS, type Resource } from './resources.ts';

/** What a client may change: not identity and deletion; the status only through its subresource, and nothing else there. */
export function merged(
  resource: Resource,
  current: StoredObject,
  wanted: StoredObject,
  subresource: string,
): StoredObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp, deletionGracePeriodSeconds } =
    current.metadata;
  const own = {
    name,
    namespace,
    uid,
    resourceVersion,
    creationTimestamp,
    deletionTimestamp,
    deletionGracePeriodSeconds,
  };
  const metadata = { ...wanted.metadata, ...own };
  if (resource === PODS) checkMirrorMark(current, wanted);
  if (subresource === 'status')
    return { metadata, content: { ...current.content, status: at(wanted.content, 'status') } };
  if (resource === PODS) {
    const node = textAt(current.content, 'spec', 'nodeName');
    if (node !== '' && textAt(wanted.content, 'spec', 'nodeName') !== node) {
      throw invalid(
        resource,
        name,
        'spec',
        'Forbidden: pod updates may not change fields other than `spec.containers[*].image`',
      );
    }
  }
  const status = at(current.content, 'status');
  const others = resource === DAEMON_SETS ? withGeneration(current, wanted) : wanted.metadata.others;
  return {
    metadata: { ...metadata, others },
    content: { ...wanted.content, ...(status === undefined ? {} : { status }) },
  };
}

/** Kubernetes, `ValidatePodSpecificAnnotationUpdates` in `pkg/apis/core/validation/validation.go`; the status is no way round it. */
function checkMirrorMark(current: StoredObject, wanted: StoredObject): void {
  const before = current.metadata.annotations?.[MIRROR_ANNOTATION];
  const after = wanted.metadata.annotations?.[MIRROR_ANNOTATION];
  if (before === after) return;
  const what =
    before === undefined ? 'may not add mirror pod annotation' : 'may not remove or update mirror pod annotation';
  throw invalid(PODS, current.metadata.name, `metadata.annotations[${MIRROR_ANNOTATION}]`, `Forbidden: ${what}`);
}

/** The generation counts the changes of a spec, so that a status can say which of them it has seen. */
function withGeneration(current: StoredObject, wanted: StoredObject): JsonObject {
  const before = Number(at(current.metadata.others, 'generation') ?? 1);
  const isSame = JSON.stringify(at(current.content, 'spec')) === JSON.stringify(at(wanted.content, 'spec'));
  return { ...wanted.metadata.others, generation: isSame ? before : before + 1 };
}

export function graceOf(pod: StoredObject, askedSeconds: number | undefined): number {
  // A pod that runs nowhere has nothing to end.
  if (textAt(pod.content, 'spec', 'nodeName') === '') return 0;
  if (askedSeconds !== undefined) return askedSeconds;
  const own = at(pod.content, 'spec', 'terminationGracePeriodSeconds');
  return typeof own === 'number' ? own : 30;
}

export function withGrace(object: StoredObject, deletionGracePeriodSeconds: number): StoredObject {
  return { ...object, metadata: { ...object.metadata, deletionGracePeriodSeconds } };
}

export function timestamp(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, 19)}Z`;
}

/** Kubernetes leaves out vowels and digits that look like letters (`apimachinery/pkg/util/rand`). */
export function randomSuffix(): string {
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
  return Array.from(randomBytes(5), (byte) => alphabet.charAt(byte % alphabet.length)).join('');
}

/** Throws a 409 when the client had another object, or another version of it, in mind. */
export function checkPreconditions(
  resource: Resource,
  current: StoredObject,
  wanted: { uid: string; resourceVersion: string },
): void {
  const { name, uid, resourceVersion } = current.metadata;
  if (wanted.uid !== '' && wanted.uid !== uid) {
    throw conflict(
      resource,
      name,
      `Precondition failed: UID in precondition: ${wanted.uid}, UID in object meta: ${uid}`,
    );
  }
  if (wanted.resourceVersion !== '' && wanted.resourceVersion !== resourceVersion) {
    const both = `ResourceVersion in precondition: ${wanted.resourceVersion}, ResourceVersion in object meta: ${resourceVersion}`;
    throw conflict(resource, name, `Precondition failed: ${both}`);
  }
}
