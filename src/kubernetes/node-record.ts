import { canonicalAddress } from '#domain/address.ts';
import {
  CONDITION_TYPE,
  type ConditionStatus,
  type NodeCondition,
  type NodeRecord,
  STARTUP_TAINT,
} from '#domain/node-readiness.ts';

import { field, listField, textField } from './json-fields.ts';
import type { StoredObject } from './object-store.ts';

export interface StoredNode extends NodeRecord, StoredObject {}

/** Reads a Node as the API server sends it; undefined for what has no UID or name. */
export function parseNodeObject(value: unknown): StoredNode | undefined {
  const metadata = field(value, 'metadata');
  const uid = textField(metadata, 'uid');
  const name = textField(metadata, 'name');
  if (uid === '' || name === '') return undefined;
  const status = field(value, 'status');
  return {
    uid,
    namespace: '',
    name,
    resourceVersion: textField(metadata, 'resourceVersion'),
    addresses: listField(status, 'addresses').flatMap((entry) => canonicalAddress(textField(entry, 'address')) ?? []),
    taintIndex: listField(field(value, 'spec'), 'taints').findIndex(
      (entry) => textField(entry, 'key') === STARTUP_TAINT,
    ),
    condition: conditionOf(listField(status, 'conditions')),
  };
}

function conditionOf(conditions: readonly unknown[]): NodeCondition | undefined {
  const entry = conditions.find((condition) => textField(condition, 'type') === CONDITION_TYPE);
  if (entry === undefined) return undefined;
  return {
    status: statusOf(textField(entry, 'status')),
    reason: textField(entry, 'reason'),
    message: textField(entry, 'message'),
    lastHeartbeatTime: textField(entry, 'lastHeartbeatTime'),
    lastTransitionTime: textField(entry, 'lastTransitionTime'),
  };
}

function statusOf(text: string): ConditionStatus {
  return text === 'True' || text === 'False' ? text : 'Unknown';
}

/** Whether anything differs but the resource version. */
export function nodesDiffer(left: NodeRecord, right: NodeRecord): boolean {
  return withoutVersion(left) !== withoutVersion(right);
}

function withoutVersion(node: NodeRecord): string {
  return JSON.stringify({ ...node, resourceVersion: '' });
}
