import { type Json, type JsonObject, listAt, textAt, textsAt } from '../json.ts';

export type Metadata = {
  readonly name: string;
  /** `''` for what belongs to no namespace. */
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly creationTimestamp: string;
  readonly deletionTimestamp: string | undefined;
  readonly deletionGracePeriodSeconds: number | undefined;
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly annotations: Readonly<Record<string, string>> | undefined;
  readonly finalizers: readonly string[] | undefined;
  /** Whatever else the writer put there. */
  readonly others: JsonObject;
};

/** An object as the store keeps it. It never changes: every write makes a new one. */
export interface StoredObject {
  readonly metadata: Metadata;
  /** Everything but `apiVersion`, `kind` and `metadata`. */
  readonly content: JsonObject;
}

const KNOWN = new Set([
  'name',
  'namespace',
  'uid',
  'resourceVersion',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'labels',
  'annotations',
  'finalizers',
]);
/** Fields that the server owns or that this stand-in does not keep. */
const DROPPED = new Set(['generateName', 'managedFields', 'selfLink']);

/** The metadata of an object as a client sent it. What only the server may say is filled in by the writer. */
export function readMetadata(object: JsonObject): Metadata {
  const metadata = object['metadata'];
  const others: Record<string, Json | undefined> = {};
  for (const [name, value] of Object.entries(typeof metadata === 'object' && metadata !== null ? metadata : {})) {
    if (!KNOWN.has(name) && !DROPPED.has(name)) others[name] = value;
  }
  const finalizers = listAt(metadata, 'finalizers').filter((finalizer) => typeof finalizer === 'string');
  return {
    name: textAt(metadata, 'name'),
    namespace: textAt(metadata, 'namespace'),
    uid: textAt(metadata, 'uid'),
    resourceVersion: textAt(metadata, 'resourceVersion'),
    creationTimestamp: textAt(metadata, 'creationTimestamp'),
    deletionTimestamp: textAt(metadata, 'deletionTimestamp') || undefined,
    deletionGracePeriodSeconds: undefined,
    labels: orNothing(textsAt(metadata, 'labels')),
    annotations: orNothing(textsAt(metadata, 'annotations')),
    finalizers: finalizers.length === 0 ? undefined : finalizers,
    others,
  };
}

export function readContent(object: JsonObject): JsonObject {
  const entries = Object.entries(object).filter(
    ([name]) => name !== 'apiVersion' && name !== 'kind' && name !== 'metadata',
  );
  return Object.fromEntries(entries);
}

/** The object as JSON values, without `apiVersion` and `kind`. */
export function toJson({ metadata, content }: StoredObject): JsonObject {
  const { others, namespace, ...known } = metadata;
  return { metadata: { ...known, ...(namespace === '' ? {} : { namespace }), ...others }, ...content };
}

function orNothing(texts: Readonly<Record<string, string>>): Readonly<Record<string, string>> | undefined {
  return Object.keys(texts).length === 0 ? undefined : texts;
}
