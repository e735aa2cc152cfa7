import assert from 'node:assert/strict';
import { test } from 'node:test';

import { type Action, admissionManifests } from '#admission/admission-policy.ts';

const manifests = (action: Action, strict = true) =>
  admissionManifests({
    action,
    namespace: 'kube-system',
    baseArn: 'arn:aws:iam::123456789012:role/',
    strict,
    binding: 'both',
    containerCredentials: false,
    allowedTags: ['team', 'cost'],
  });

const namesOf = (action: Action): string[] =>
  manifests(action).map(({ kind, metadata }) => `${kind} ${String(metadata['name'])}`);

test('a policy that warns is one policy with one binding and its parameters', () => {
  assert.deepEqual(namesOf('warn'), [
    'ConfigMap kiam',
    'ValidatingAdmissionPolicy kiam',
    'ValidatingAdmissionPolicyBinding kiam',
  ]);
});

test('a policy that denies keeps only warning of what may work', () => {
  const bindings = manifests('deny').filter(({ kind }) => kind === 'ValidatingAdmissionPolicyBinding');
  const actions = bindings.map(({ metadata, spec }) => [metadata['name'], Object(spec).validationActions]);
  assert.deepEqual(actions, [
    ['kiam', ['Deny']],
    ['kiam-advice', ['Warn', 'Audit']],
  ]);
});

test('the parameters are what the server is started with', () => {
  const [parameters] = manifests('warn', false);
  assert.deepEqual(parameters?.['data'], {
    baseArn: 'arn:aws:iam::123456789012:role/',
    strict: 'false',
    binding: 'both',
    containerCredentials: 'false',
    allowedSessionTags: 'team,cost',
  });
});
