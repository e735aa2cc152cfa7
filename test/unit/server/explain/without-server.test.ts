import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import type { NamespaceRecord } from '#domain/namespace.ts';
import { decideWithoutServer, resolveWithoutServer } from '#server/explain/without-server.ts';
import { NamespacePolicy } from '#server/namespace-policy.ts';

import { podRecord } from '../../../support/pods.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const BASE = 'arn:aws:iam::123456789012:role/';
const ROLES = ['reader', '/team/reader', `${BASE}reader`, 'arn:aws:s3:::x', 'x'.repeat(3000)];
const NAMESPACES: readonly (NamespaceRecord | undefined)[] = [
  undefined,
  ...['', '(', '.*', 'reader', `${BASE}reader`, '.*:role/team/.*'].map((permitted) => ({ name: 'default', permitted })),
  ...['', '[]', '["reader"]', `["team/*", "${BASE}reader"]`].map((permitted) => ({
    name: 'default',
    permitted,
    isList: true,
  })),
];
const CASES = ROLES.flatMap((role) => NAMESPACES.map((namespace) => ({ pod: podRecord({ role }), namespace })));

describe('a decision without a server', () => {
  for (const strict of [true, false]) {
    it(`a decision without a server is the server's where the base ARN is known (${strict ? 'strict' : 'not strict'})`, () => {
      for (const { pod, namespace } of CASES) {
        const namespaces = { get: () => namespace };
        const policy = new NamespacePolicy({
          namespaces,
          baseArn: BASE,
          strict,
          listFormat: 'glob',
          logger: recordingLogger().logger,
        });
        const decision = decideWithoutServer(pod, namespaces, { baseArn: BASE, strict, listFormat: 'glob' });
        assert.deepEqual(decision, policy.decide(pod, pod.role), JSON.stringify(namespace));
      }
    });
  }

  it('a decision without a server is the server’s for every base ARN where that is not known, or is left open', () => {
    let open = 0;
    for (const { pod, namespace } of CASES) {
      const namespaces = { get: () => namespace };
      const decision = decideWithoutServer(pod, namespaces, { baseArn: undefined, strict: true, listFormat: 'glob' });
      if (decision === undefined) open += 1;
      else {
        for (const baseArn of [BASE, 'arn:aws-cn:iam::210987654321:role/team/']) {
          const policy = new NamespacePolicy({
            namespaces,
            baseArn,
            strict: true,
            listFormat: 'glob',
            logger: recordingLogger().logger,
          });
          assert.deepEqual(decision, policy.decide(pod, pod.role), `${pod.role} ${JSON.stringify(namespace)}`);
        }
      }
    }
    // Three short names, and four expressions that may match one; three lists, whose entries may be short.
    assert.equal(open, 3 * 4 + 3 * ROLES.length);
  });

  it('a decision without a server leaves the ARN of a short name open, and of no other', () => {
    const flags = { baseArn: undefined, strict: true };
    assert.equal(resolveWithoutServer('reader', flags), undefined);
    assert.deepEqual(resolveWithoutServer(`${BASE}reader`, flags), {
      ok: true,
      role: { arn: `${BASE}reader`, name: 'reader' },
    });
    assert.equal(resolveWithoutServer('arn:aws:s3:::x', flags)?.ok, false);
  });
});
