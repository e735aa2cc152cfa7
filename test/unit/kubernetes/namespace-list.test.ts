import assert from 'node:assert/strict';
import { test } from 'node:test';

import { NamespaceCache } from '#kubernetes/namespace-cache.ts';
import { parseNamespaceWithList } from '#kubernetes/namespace-record.ts';

import { recordingLogger } from '../../support/recording-logger.ts';

const namespace = (resourceVersion: string, annotations: Record<string, string>) => {
  const record = parseNamespaceWithList({ metadata: { uid: 'uid', name: 'team', resourceVersion, annotations } });
  assert.ok(record !== undefined);
  return record;
};

test('A list that takes the place of an expression of the same text is told as a change', () => {
  const namespaces = new NamespaceCache({ logger: recordingLogger().logger });
  const told: (boolean | undefined)[] = [];
  namespaces.subscribe(({ current }) => told.push(current?.isList));
  namespaces.target.upsert(namespace('1', { 'iam.amazonaws.com/permitted': 'reader' }));
  namespaces.target.upsert(
    namespace('2', { 'iam.amazonaws.com/permitted': 'x', 'iam.amazonaws.com/allowed-roles': 'reader' }),
  );
  assert.deepEqual(told, [undefined, true]);
});
