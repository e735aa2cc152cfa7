import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';

import { serverAccess } from '#doctor/cluster/access.ts';
import { listAt, textAt } from '#sandbox/json.ts';

/** What the first ClusterRole of a manifest allows. */
async function grantedBy(file: string) {
  const text = await readFile(new URL(`../../../deploy/${file}`, import.meta.url), 'utf8');
  const role = parseAllDocuments(text)
    .map((document) => document.toJS())
    .find((object) => textAt(object, 'kind') === 'ClusterRole');
  return listAt(role, 'rules').flatMap((rule) =>
    listAt(rule, 'apiGroups').flatMap((group) =>
      listAt(rule, 'resources').flatMap((resource) => listAt(rule, 'verbs').map((verb) => ({ group, resource, verb }))),
    ),
  );
}

test('what the server is asked to be allowed for --node-readiness is what the ClusterRole of deploy/startup-taint allows', async () => {
  const granted = await grantedBy('startup-taint/component/access.yaml');
  const plain = serverAccess({ reviewsTokens: true, binding: 'both', nodeReadiness: 'off' });
  const needed = (nodeReadiness: 'condition' | 'taint') =>
    serverAccess({ reviewsTokens: true, binding: 'both', nodeReadiness }).slice(plain.length);
  assert.deepEqual(needed('taint'), granted);
  assert.deepEqual(needed('condition'), granted.slice(0, -1));
});

test('what the server is asked to be allowed is what its ClusterRole allows, and no more', async () => {
  const granted = await grantedBy('server-rbac.yaml');
  assert.equal(granted.length, 12);
  assert.deepEqual(serverAccess({ reviewsTokens: true, binding: 'both', nodeReadiness: 'off' }), granted);
  assert.deepEqual(
    serverAccess({ reviewsTokens: false, binding: 'serviceaccount', nodeReadiness: 'off' }),
    granted.slice(0, -1),
  );
  assert.deepEqual(
    serverAccess({ reviewsTokens: true, binding: 'pod', nodeReadiness: 'off' }),
    granted.filter(({ resource }) => resource !== 'serviceaccounts'),
  );
});
