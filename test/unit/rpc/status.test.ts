import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Metadata, status } from '@grpc/grpc-js';

import type { FailureKind } from '#domain/failure.ts';
import { failureOf, statusOf } from '#rpc/status.ts';
import { grpcCodeName } from '#telemetry/grpc-metrics.ts';

describe('a failure crosses the wire', () => {
  for (const [kind, message, code] of [
    ['pod-not-found', 'no pod found', status.NOT_FOUND],
    ['multiple-pods', 'multiple running pods found', status.FAILED_PRECONDITION],
    ['view-stale', 'stale', status.UNAVAILABLE],
    ['role-empty', "role can't be empty", status.FAILED_PRECONDITION],
    ['forbidden', 'forbidden by policy', status.PERMISSION_DENIED],
    ['sts-refused', 'AccessDenied', status.FAILED_PRECONDITION],
    ['sts-throttled', 'Throttling', status.UNAVAILABLE],
    ['sts-unavailable', 'InternalFailure', status.UNAVAILABLE],
    ['server-unavailable', 'gone', status.UNAVAILABLE],
    ['timed-out', 'no answer in time', status.DEADLINE_EXCEEDED],
    ['internal', 'internal error', status.INTERNAL],
  ] as const satisfies readonly (readonly [FailureKind, string, status])[]) {
    it(`a failure of kind ${kind} crosses the wire as ${grpcCodeName(code)}, and comes out the same`, () => {
      const wire = statusOf({ kind, message });
      assert.equal(wire.code, code);
      assert.equal(wire.details, message);
      assert.deepEqual(failureOf(wire), { kind, message });
    });
  }
});

describe('how long a refusal stands crosses the wire', () => {
  for (const [standsForMs, received] of [
    [2500.7, 2500],
    [1, 1],
    [0.9, undefined],
    [0, undefined],
    [-5, undefined],
  ] as const) {
    it(`that a refusal stands for ${standsForMs} ms crosses the wire as ${received ?? 'nothing'}`, () => {
      const { standsForMs: arrived } = failureOf(statusOf({ kind: 'forbidden', message: 'no', standsForMs }));
      assert.equal(arrived, received);
    });
  }

  it('the time for which a refusal stands is not read from nonsense', () => {
    const wire = statusOf({ kind: 'forbidden', message: 'no' });
    wire.metadata.set('kiam-stands-for-ms', 'for ever');
    assert.deepEqual(failureOf(wire), { kind: 'forbidden', message: 'no' });
  });
});

describe("a status of Kiam's own server, which has code Unknown and no trailer, means", () => {
  for (const [details, kind, message] of [
    ['forbidden by policy', 'forbidden', 'forbidden by policy'],
    ['no pod found', 'pod-not-found', 'no pod found'],
    ['pod not found', 'pod-not-found', 'pod not found'],
    ['multiple running pods found', 'multiple-pods', 'multiple running pods found'],
    ["role can't be empty", 'role-empty', "role can't be empty"],
    ['InternalFailure: internal\n\tstatus code: 500, request id: c9ee824f', 'sts-unavailable', 'InternalFailure'],
    ['Throttling: Rate exceeded\n\tstatus code: 400, request id: 1', 'sts-throttled', 'Throttling'],
    [
      'AccessDenied: User: arn:aws:sts::1:assumed-role/kiam-server/1 is not authorized to perform: sts:AssumeRole',
      'sts-refused',
      'AccessDenied',
    ],
    ['context deadline exceeded', 'timed-out', 'the server got no credentials in time'],
    [
      'RequestCanceled: request context canceled\ncaused by: context deadline exceeded',
      'timed-out',
      'the server got no credentials in time',
    ],
    ['error parsing regexp: missing closing ]: `[a-z$`', 'internal', 'the server failed with gRPC code Unknown'],
  ] as const) {
    it(`${JSON.stringify(details.slice(0, 40))}: ${kind}`, () => {
      assert.deepEqual(failureOf({ code: status.UNKNOWN, details, metadata: new Metadata() }), { kind, message });
    });
  }
});

describe('a status of the transport means', () => {
  for (const [code, kind] of [
    [status.UNAVAILABLE, 'server-unavailable'],
    [status.CANCELLED, 'server-unavailable'],
    [status.DEADLINE_EXCEEDED, 'timed-out'],
    // What the transport says of a connection that broke in the middle of an answer.
    [status.INTERNAL, 'server-unavailable'],
    [status.UNIMPLEMENTED, 'internal'],
  ] as const) {
    it(`${grpcCodeName(code)}: ${kind}, and no text of it reaches a pod`, () => {
      const failure = failureOf({ code, details: 'connect ECONNREFUSED 198.51.100.7:9610', metadata: new Metadata() });
      assert.equal(failure.kind, kind);
      assert.doesNotMatch(failure.message, /198/);
    });
  }

  it('a trailer with an unknown kind is not trusted', () => {
    const metadata = new Metadata();
    metadata.set('kiam-failure', '__proto__');
    assert.equal(failureOf({ code: status.UNKNOWN, details: 'forbidden by policy', metadata }).kind, 'forbidden');
  });
});
