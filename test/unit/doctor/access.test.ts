import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';

import { serverAccess } from '#doctor/cluster/access.ts';
import { listAt, textAt } from '#sandbox/json.ts';

test('what the server is asked to be allowed is what its ClusterRole allows, and no more', async () => {
  const text = await readFile(new URL('../../../deploy/server-rbac.yaml', import.meta.url), 'utf8');
  const role = parseAllDocuments(text)
    .map((document) => document.toJS())
    .find((object) => textAt(object, 'kind') === 'ClusterRole');
  const granted = listAt(role, 'rules').flatMap((rule) =>
    listAt(rule, 'apiGroups').flatMap((group) =>
      listAt(rule, 'resources').flatMap((resource) => listAt(rule, 'verbs').map((verb) => ({ group, resource, verb }))),
    ),
  );
  assert.equal(granted.length, 12);
  assert.deepEqual(serverAccess({ reviewsTokens: true, binding: 'both' }), granted);
  assert.deepEqual(serverAccess({ reviewsTokens: false, binding: 'serviceaccount' }), granted.slice(0, -1));
  assert.deepEqual(
    serverAccess({ reviewsTokens: true, binding: 'pod' }),
    granted.filter(({ resource }) => resource !== 'serviceaccounts'),
  );
});
