import protobuf from 'protobufjs';

import type { Json, JsonObject } from '../json.ts';

/**
 * The few objects that kubectl sends as protobuf whatever is offered (`create namespace`, `create serviceaccount`,
 * `auth can-i`), and Helm for its own records. Field numbers are those of Kubernetes' `generated.proto` files; fields that are not listed are skipped.
 */
const MESSAGES = `
  syntax = "proto2";
  message TypeMeta { optional string apiVersion = 1; optional string kind = 2; }
  message Unknown { optional TypeMeta typeMeta = 1; optional bytes raw = 2; }
  message ObjectMeta {
    optional string name = 1; optional string generateName = 2; optional string namespace = 3;
    optional string uid = 5; optional string resourceVersion = 6;
    map<string, string> labels = 11; map<string, string> annotations = 12;
  }
  message Namespace { optional ObjectMeta metadata = 1; }
  message Secret { optional ObjectMeta metadata = 1; map<string, bytes> data = 2; optional string type = 3; }
  message ServiceAccount { optional ObjectMeta metadata = 1; }
  message ResourceAttributes {
    optional string namespace = 1; optional string verb = 2; optional string group = 3; optional string version = 4;
    optional string resource = 5; optional string subresource = 6; optional string name = 7;
  }
  message NonResourceAttributes { optional string path = 1; optional string verb = 2; }
  message SelfSubjectAccessReviewSpec {
    optional ResourceAttributes resourceAttributes = 1; optional NonResourceAttributes nonResourceAttributes = 2;
  }
  message SelfSubjectAccessReview { optional ObjectMeta metadata = 1; optional SelfSubjectAccessReviewSpec spec = 2; }
  message Preconditions { optional string uid = 1; optional string resourceVersion = 2; }
  message DeleteOptions { optional int64 gracePeriodSeconds = 1; optional Preconditions preconditions = 2; }
`;
const KINDS = ['Namespace', 'Secret', 'ServiceAccount', 'SelfSubjectAccessReview', 'DeleteOptions'];
/** What stands before every object (https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding). */
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

/** The object in the API's protobuf envelope; undefined for anything that is not read here. */
export function decodeProtobuf(bytes: Buffer): JsonObject | undefined {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const { root } = protobuf.parse(MESSAGES, { keepCase: true });
  try {
    const { typeMeta, raw } = root.lookupType('Unknown').decode(bytes.subarray(MAGIC.length)).toJSON();
    const { apiVersion, kind } = typeMeta ?? {};
    if (!KINDS.includes(kind) || raw === undefined) return undefined;
    const type = root.lookupType(kind);
    const object: Record<string, Json> = type.toObject(type.decode(Buffer.from(raw, 'base64')), {
      longs: Number,
      bytes: String,
    });
    return { apiVersion, kind, ...object };
  } catch {
    return undefined;
  }
}
