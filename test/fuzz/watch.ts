import assert from 'node:assert/strict';

import fc from 'fast-check';

import { canonicalAddress } from '#domain/address.ts';
import { parseNamespaceObject } from '#kubernetes/namespace-record.ts';
import { createPodParser } from '#kubernetes/pod-record.ts';
import { parseWatchEvent, statusMessage } from '#kubernetes/watch-event.ts';

import { STALL_MS, within } from './within.ts';

const anyText = fc.oneof(fc.string({ unit: 'binary', maxLength: 60 }), fc.string({ unit: 'grapheme', maxLength: 60 }));
const nothing = (): void => {};
const parsePod = createPodParser();

const anyJson = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  fc.record({ metadata: fc.jsonValue(), spec: fc.jsonValue(), status: fc.jsonValue() }),
);
const annotations = fc.dictionary(
  fc.constantFrom('iam.amazonaws.com/role', 'iam.amazonaws.com/session-name', '__proto__', 'constructor'),
  fc.oneof(anyText, fc.jsonValue()),
);
const podJson = fc.record({
  metadata: fc.record(
    { uid: anyText, name: anyText, namespace: anyText, resourceVersion: anyText, annotations },
    { requiredKeys: [] },
  ),
  spec: fc.record({ hostNetwork: fc.jsonValue() }, { requiredKeys: [] }),
  status: fc.record(
    { phase: fc.jsonValue(), podIP: fc.jsonValue(), podIPs: fc.jsonValue(), hostIP: fc.jsonValue() },
    { requiredKeys: [] },
  ),
});

export const watchObject = fc.property(fc.oneof(anyJson, podJson), (value) => {
  const pod = within(STALL_MS, 'a pod', nothing, () => parsePod(value));
  within(STALL_MS, 'a namespace', nothing, () => parseNamespaceObject(value));
  if (pod === undefined) return;
  for (const field of [pod.uid, pod.name, pod.namespace, pod.role, pod.sessionName, pod.externalId])
    assert.equal(typeof field, 'string');
  for (const address of pod.addresses) assert.equal(canonicalAddress(address), address);
});

const event = fc.record(
  {
    type: fc.oneof(fc.constantFrom('ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR', 'added', ''), fc.jsonValue()),
    object: fc.oneof(anyJson, podJson, fc.record({ code: fc.jsonValue(), message: fc.jsonValue() })),
  },
  { requiredKeys: [] },
);

const mostly = <T>(usual: T, other: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other });

/** A line as a broken connection or a broken server leaves it: cut at both ends, or with something put into it. */
const damage = fc.record({
  from: mostly(0, fc.nat(80)),
  dropped: mostly(0, fc.nat(80)),
  inserted: mostly('', anyText),
  at: fc.nat(200),
});
const line = fc.tuple(event, damage).map(([value, { from, dropped, inserted, at }]) => {
  const whole = JSON.stringify(value);
  const cut = whole.slice(from, whole.length - dropped);
  return cut.slice(0, at) + inserted + cut.slice(at);
});

const KINDS: ReadonlyMap<unknown, string> = new Map([
  ['ADDED', 'state'],
  ['MODIFIED', 'state'],
  ['DELETED', 'deleted'],
  ['BOOKMARK', 'bookmark'],
  ['ERROR', 'error'],
]);

/** What a line says, told in another way: a line that is no whole event of a known type says nothing. */
function kindOf(text: string): string {
  let fields: Map<string, unknown>;
  try {
    fields = new Map(Object.entries(JSON.parse(text) ?? {}));
  } catch {
    return 'unreadable';
  }
  const isRecord = Object.prototype.toString.call(fields.get('object')) === '[object Object]';
  return (isRecord ? KINDS.get(fields.get('type')) : undefined) ?? 'unreadable';
}

export const watchLine = fc.property(line, (text) => {
  const found = within(STALL_MS, 'a line', nothing, () => parseWatchEvent(text));
  assert.equal(found.kind, kindOf(text), text);
  const message = found.kind === 'error' ? found.message : statusMessage(text);
  assert.ok(message.length <= 300, 'a message fits a log line');
  assert.doesNotMatch(message, /\p{Cc}/u, 'a message is one line');
});
