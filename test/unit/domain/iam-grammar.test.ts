import assert from 'node:assert/strict';
import { test } from 'node:test';

import { externalIdProblem, isSessionOf, roleArnProblem, sessionNameProblem } from '#domain/iam-grammar.ts';

const arn = (account: string, rest: string, partition = 'aws'): string =>
  `arn:${partition}:iam::${account}:role/${rest}`;
const ACCOUNT = '123456789012';

test('a role ARN is accepted up to the limits that IAM sets, and no further', () => {
  const cases: readonly [string, boolean][] = [
    [arn(ACCOUNT, 'a'), true],
    [arn('12345678901', 'a'), false],
    [arn('1234567890123', 'a'), false],
    [arn('١٢٣٤٥٦٧٨٩٠١٢', 'a'), false],
    [arn(ACCOUNT, 'n'.repeat(64)), true],
    [arn(ACCOUNT, 'n'.repeat(65)), false],
    [arn(ACCOUNT, `${'p'.repeat(511)}/n`), true],
    [arn(ACCOUNT, `${'p'.repeat(512)}/n`), false],
    [arn(ACCOUNT, 'a b'), false],
    [arn(ACCOUNT, 'a b/n'), false],
    [arn(ACCOUNT, 'é'), false],
    [arn(ACCOUNT, ''), false],
    [arn(ACCOUNT, 'a', 'aws-us-gov'), true],
    [arn(ACCOUNT, 'a', 'gcp'), false],
    [`arn:aws:iam::${ACCOUNT}:user/a`, false],
  ];
  for (const [text, isAccepted] of cases) assert.equal(roleArnProblem(text) === undefined, isAccepted, text);
});

test('an external id has 2 to 1224 characters of those that STS accepts, and is in no text about it', () => {
  const cases: readonly [string, boolean][] = [
    ['', true],
    ['x', false],
    ['xy', true],
    ['x'.repeat(1224), true],
    ['x'.repeat(1225), false],
    ['a1+=,.@:/-_', true],
    ['secret value', false],
    ['sécret', false],
  ];
  for (const [text, isAccepted] of cases) {
    const problem = externalIdProblem(text);
    assert.equal(problem === undefined, isAccepted, text);
    assert.equal(problem?.includes('secret') ?? false, false);
  }
});

test('a session name has 2 to 64 characters of those that STS accepts', () => {
  const cases: readonly [string, boolean][] = [
    ['x', false],
    ['xy', true],
    ['x'.repeat(64), true],
    ['x'.repeat(65), false],
    ['a/b', false],
  ];
  for (const [text, isAccepted] of cases) assert.equal(sessionNameProblem(text) === undefined, isAccepted, text);
});

test('a session is that of a role and a name only when account, role name and session name are those asked for', () => {
  const session = `arn:aws:sts::${ACCOUNT}:assumed-role/reader/kiam-x`;
  const role = arn(ACCOUNT, 'team/reader');
  assert.equal(isSessionOf(session, role, 'kiam-x'), true);
  const others: readonly [string, string, string][] = [
    [session, role, 'kiam-y'],
    [session, role, 'kiam-'],
    [session, arn('999999999999', 'team/reader'), 'kiam-x'],
    [session, arn(ACCOUNT, 'team/writer'), 'kiam-x'],
    [session, arn(ACCOUNT, 'team/reader', 'aws-cn'), 'kiam-x'],
    [`${session}y`, role, 'kiam-x'],
    ['', role, 'kiam-x'],
  ];
  for (const [answered, asked, name] of others)
    assert.equal(isSessionOf(answered, asked, name), false, `${asked} ${name}`);
});
