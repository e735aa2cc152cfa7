import assert from 'node:assert/strict';
import { test } from 'node:test';
import { credentialsFields, denialFields, namespaceFields, podFields, requestFields } from '#telemetry/fields.ts';
import { podRecord } from '../../support/pods.ts';

test('A pod is told by the names that Kiam gives its facts', () => {
  const pod = podRecord({ addresses: ['192.0.2.7', '2001:db8::7'], phase: 'Pending', resourceVersion: '42' });
  assert.deepEqual(podFields(pod), {
    'pod.namespace': 'default',
    'pod.name': 'pod-1',
    'pod.status.ip': '192.0.2.7',
    'pod.status.phase': 'Pending',
    'pod.iam.role': 'reader',
    'resource.version': '42',
  });
});

test('A pod without address or role has empty fields, as with Kiam', () => {
  const fields = podFields(podRecord({ addresses: [], role: '' }));
  assert.equal(fields['pod.status.ip'], '');
  assert.equal(fields['pod.iam.role'], '');
});

test('Of credentials the key id, the end and the role are told, and nothing secret', () => {
  const credentials = {
    accessKeyId: 'ASIA1',
    secretAccessKey: 'SECRET',
    sessionToken: 'TOKEN',
    expiresAtMs: Date.UTC(2026, 10, 24, 1, 2, 3, 999),
  };
  const fields = credentialsFields(credentials, {
    role: 'reader',
    sessionName: 'my session',
    externalId: 'half-secret',
  });
  assert.deepEqual(fields, {
    'credentials.access.key': 'ASIA1',
    'credentials.expiration': '2026-11-24T01:02:03Z',
    'credentials.role': 'reader',
    'credentials.session-name': 'my session',
    'credentials.external-id': '******',
  });
});

test('Session name and external id are told only where they are annotated', () => {
  const fields = credentialsFields(
    { accessKeyId: 'A', expiresAtMs: 0 },
    { role: 'r', sessionName: '', externalId: '' },
  );
  assert.equal(fields['credentials.session-name'], undefined);
  assert.equal(fields['credentials.external-id'], undefined);
});

test('Namespaces, denials and requests have the names of the recorded lines', () => {
  assert.deepEqual(namespaceFields({ name: 'team', permitted: '.*' }), {
    namespace: 'team',
    'namespace.permitted': '.*',
  });
  assert.deepEqual(denialFields('admin', 'because'), {
    'pod.iam.requestedRole': 'admin',
    'policy.explanation': 'because',
  });
  assert.deepEqual(
    requestFields({ address: '192.0.2.1:4000', method: 'GET', path: '/ping', status: 200, durationMs: 1.9 }),
    { addr: '192.0.2.1:4000', method: 'GET', path: '/ping', status: 200, duration: 1 },
  );
});
