import { createHash } from 'node:crypto';
import { at, type JsonObject, listAt, objectAt, textAt } from '../json.ts';
import type { Objects } from './object-writer.ts';
import type { StoredObject } from './objects.ts';
import { CONTROLLER_REVISIONS } from './resources.ts';

/** The label that pods and ControllerRevisions of one template share. */
export const HASH_LABEL = 'controller-revision-hash';

/**
 * Keeps what a DaemonSet's template was, for `kubectl rollout undo`; returns the hash of the one it has. A template that
 * comes back keeps its ControllerRevision, which then is the newest again, as the real controller has it
 * (Kubernetes, `pkg/controller/daemon/update.go`).
 */
export function keepRevision(objects: Objects, owner: StoredObject): string {
  const template = objectAt(owner.content, 'spec', 'template');
  const hash = createHash('sha256').update(JSON.stringify(template)).digest('hex').slice(0, 10);
  const { namespace, uid } = owner.metadata;
  const name = `${owner.metadata.name}-${hash}`;
  const kept = [...objects.collection(CONTROLLER_REVISIONS).versions()]
    .map(({ object }) => object)
    .filter(({ metadata }) => isOwnedBy(metadata.others, uid));
  const newest = Math.max(0, ...kept.map(revisionOf));
  const same = kept.find(({ metadata }) => metadata.name === name);
  const target = { resource: CONTROLLER_REVISIONS, namespace, name, subresource: '' };
  if (same === undefined) {
    objects.create(CONTROLLER_REVISIONS, namespace, {
      metadata: {
        name,
        labels: { ...owner.metadata.labels, ...objectAt(template, 'metadata', 'labels'), [HASH_LABEL]: hash },
        ownerReferences: [ownerReference(owner)],
      },
      data: { spec: { template: { ...template, $patch: 'replace' } } },
      revision: newest + 1,
    });
  } else if (revisionOf(same) < newest) {
    objects.patch(target, 'application/merge-patch+json', { revision: newest + 1 });
  }
  return hash;
}

export function ownerReference({ metadata: { name, uid } }: StoredObject): JsonObject {
  return { apiVersion: 'apps/v1', kind: 'DaemonSet', name, uid, controller: true, blockOwnerDeletion: true };
}

/** Whether the metadata that only writers know names this owner. */
export function isOwnedBy(others: JsonObject, uid: string): boolean {
  return listAt(others, 'ownerReferences').some((reference) => textAt(reference, 'uid') === uid);
}

function revisionOf({ content }: StoredObject): number {
  return Number(at(content, 'revision') ?? 0);
}
