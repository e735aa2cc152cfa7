import type { Json, JsonObject } from '../json.ts';

/**
 * Reads the few objects that kubectl sends as protobuf whatever is offered (`create namespace`, `create serviceaccount`,
 * `auth can-i`). Field numbers are those of Kubernetes' `generated.proto` files; fields that are not listed are skipped.
 */
type Field =
  | { readonly name: string; readonly kind: 'text' | 'integer' | 'labels' }
  | { readonly name: string; readonly kind: 'message'; readonly fields: Fields };
type Fields = Readonly<Record<number, Field>>;

function texts(...names: readonly (readonly [number, string])[]): Fields {
  return Object.fromEntries(names.map(([number, name]) => [number, { name, kind: 'text' as const }]));
}

const OBJECT_META: Fields = {
  ...texts([1, 'name'], [2, 'generateName'], [3, 'namespace'], [5, 'uid'], [6, 'resourceVersion']),
  11: { name: 'labels', kind: 'labels' },
  12: { name: 'annotations', kind: 'labels' },
};
const METADATA: Field = { name: 'metadata', kind: 'message', fields: OBJECT_META };
const RESOURCE_ATTRIBUTES = texts(
  [1, 'namespace'],
  [2, 'verb'],
  [3, 'group'],
  [4, 'version'],
  [5, 'resource'],
  [6, 'subresource'],
  [7, 'name'],
);
const ACCESS_REVIEW_SPEC: Fields = {
  1: { name: 'resourceAttributes', kind: 'message', fields: RESOURCE_ATTRIBUTES },
  2: { name: 'nonResourceAttributes', kind: 'message', fields: texts([1, 'path'], [2, 'verb']) },
};
const KINDS: Readonly<Record<string, Fields>> = {
  Namespace: { 1: METADATA },
  ServiceAccount: { 1: METADATA },
  SelfSubjectAccessReview: { 1: METADATA, 2: { name: 'spec', kind: 'message', fields: ACCESS_REVIEW_SPEC } },
  DeleteOptions: {
    1: { name: 'gracePeriodSeconds', kind: 'integer' },
    2: { name: 'preconditions', kind: 'message', fields: texts([1, 'uid'], [2, 'resourceVersion']) },
  },
};
/** Of `k8s.io/apimachinery/pkg/runtime.Unknown`: type and content. */
const TYPE_META = texts([1, 'apiVersion'], [2, 'kind']);
/** What stands before every object (https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding). */
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

/** The object in the API's protobuf envelope; undefined for anything that is not read here. */
export function decodeProtobuf(bytes: Buffer): JsonObject | undefined {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const envelope = entries(bytes.subarray(MAGIC.length));
  const typeBytes = envelope?.find(({ number }) => number === 1)?.value;
  const content = envelope?.find(({ number }) => number === 2)?.value;
  if (!Buffer.isBuffer(typeBytes) || !Buffer.isBuffer(content)) return undefined;
  const { apiVersion, kind } = message(typeBytes, TYPE_META) ?? {};
  const fields = typeof kind === 'string' && Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  const object = fields === undefined ? undefined : message(content, fields);
  return object === undefined ? undefined : { apiVersion, kind, ...object };
}

function message(bytes: Buffer, fields: Fields): JsonObject | undefined {
  const read = entries(bytes);
  if (read === undefined) return undefined;
  const object = new Map<string, Json | undefined>();
  for (const { number, value } of read) {
    const field = fields[number];
    if (field?.kind === 'integer' && typeof value === 'number') object.set(field.name, value);
    else if (field !== undefined && Buffer.isBuffer(value))
      object.set(field.name, fieldValue(field, value, object.get(field.name)));
  }
  return Object.fromEntries(object);
}

function fieldValue(field: Field, value: Buffer, before: Json | undefined): Json | undefined {
  if (field.kind === 'message') return message(value, field.fields);
  if (field.kind !== 'labels') return value.toString('utf8');
  const { key, text } = message(value, texts([1, 'key'], [2, 'text'])) ?? {};
  const labels = typeof before === 'object' && before !== null ? Object.entries(before) : [];
  return Object.fromEntries([...labels, [typeof key === 'string' ? key : '', text ?? '']]);
}

interface Entry {
  readonly number: number;
  readonly value: Buffer | number;
}

/** The fields of a message in their order; undefined when it is broken. */
function entries(bytes: Buffer): Entry[] | undefined {
  const found: Entry[] = [];
  let offset = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; offset < bytes.length; shift += 7) {
      const byte = bytes[offset] ?? 0;
      offset += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (offset < bytes.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (wireType === 0) found.push({ number, value: varint() });
    else if (wireType === 2) {
      const length = varint();
      if (offset + length > bytes.length) return undefined;
      found.push({ number, value: bytes.subarray(offset, offset + length) });
      offset += length;
    } else return undefined;
  }
  return found;
}
