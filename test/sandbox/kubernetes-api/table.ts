import { at, type JsonObject, listAt, objectAt, textAt } from '../json.ts';
import { toJson, type StoredObject } from './objects.ts';
import { apiVersionOf, type Resource } from './resources.ts';
import type { Page } from './list.ts';

interface Column {
  readonly name: string;
  /** Wide columns are shown by `-o wide` alone. */
  readonly wide?: boolean;
  cell(object: StoredObject, nowMs: number): string | number;
}

const NAME: Column = { name: 'Name', cell: ({ metadata }) => metadata.name };
const AGE: Column = { name: 'Age', cell: ({ metadata }, nowMs) => ageOf(metadata.creationTimestamp, nowMs) };

/** What `kubectl get` prints: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables */
const COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  pods: [
    NAME,
    { name: 'Ready', cell: (pod) => (isReady(pod) ? '1/1' : '0/1') },
    {
      name: 'Status',
      cell: ({ metadata, content }) =>
        metadata.deletionTimestamp === undefined ? textAt(content, 'status', 'phase') : 'Terminating',
    },
    { name: 'Restarts', cell: () => 0 },
    AGE,
    { name: 'IP', wide: true, cell: ({ content }) => textAt(content, 'status', 'podIP') || '<none>' },
    { name: 'Node', wide: true, cell: ({ content }) => textAt(content, 'spec', 'nodeName') || '<none>' },
  ],
  daemonsets: [
    NAME,
    ...(
      [
        ['Desired', 'desiredNumberScheduled'],
        ['Current', 'currentNumberScheduled'],
        ['Ready', 'numberReady'],
        ['Up-to-date', 'updatedNumberScheduled'],
        ['Available', 'numberAvailable'],
      ] as const
    ).map(([name, field]) => ({
      name,
      cell: ({ content }: StoredObject) => Number(at(content, 'status', field) ?? 0),
    })),
    AGE,
  ],
  namespaces: [NAME, { name: 'Status', cell: ({ content }) => textAt(content, 'status', 'phase') }, AGE],
  events: [
    { name: 'Last Seen', cell: ({ content }, nowMs) => ageOf(textAt(content, 'lastTimestamp'), nowMs) },
    { name: 'Type', cell: ({ content }) => textAt(content, 'type') },
    { name: 'Reason', cell: ({ content }) => textAt(content, 'reason') },
    {
      name: 'Object',
      cell: ({ content }) =>
        `${textAt(content, 'involvedObject', 'kind').toLowerCase()}/${textAt(content, 'involvedObject', 'name')}`,
    },
    { name: 'Message', cell: ({ content }) => textAt(content, 'message') },
    { name: 'Count', wide: true, cell: ({ content }) => Number(at(content, 'count') ?? 1) },
    { ...NAME, wide: true },
  ],
};

/** Whether a client would rather have tables. */
export function wantsTable(accept: string | undefined): boolean {
  return accept !== undefined && accept.includes('as=Table') && accept.includes('g=meta.k8s.io');
}

export interface TableOptions {
  readonly nowMs: number;
  /** `Object`, `Metadata` (the default) or `None`. */
  readonly includeObject: string;
}

export function pageTable(page: Page, options: TableOptions): string {
  const metadata = {
    resourceVersion: page.revision,
    ...(page.continueToken === '' ? {} : { continue: page.continueToken, remainingItemCount: page.remaining }),
  };
  return JSON.stringify(
    table(
      page.resource,
      metadata,
      page.versions.map(({ object }) => object),
      options,
    ),
  );
}

export function objectTable(resource: Resource, object: StoredObject, options: TableOptions): string {
  return JSON.stringify(table(resource, { resourceVersion: object.metadata.resourceVersion }, [object], options));
}

function table(
  resource: Resource,
  metadata: JsonObject,
  objects: readonly StoredObject[],
  options: TableOptions,
): JsonObject {
  const columns = COLUMNS[resource.name] ?? [NAME, AGE];
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: columns.map(({ name, wide = false }) => ({
      name,
      type: name === 'Count' || name === 'Restarts' ? 'integer' : 'string',
      format: name === 'Name' ? 'name' : '',
      description: '',
      priority: wide ? 1 : 0,
    })),
    rows: objects.map((object) => ({
      cells: columns.map((column) => column.cell(object, options.nowMs)),
      ...rowObject(resource, object, options.includeObject),
    })),
  };
}

function rowObject(resource: Resource, object: StoredObject, include: string): JsonObject {
  if (include === 'None') return {};
  const whole = toJson(object);
  if (include === 'Object') return { object: { kind: resource.kind, apiVersion: apiVersionOf(resource), ...whole } };
  return {
    object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: objectAt(whole, 'metadata') },
  };
}

function isReady({ content }: StoredObject): boolean {
  return listAt(content, 'status', 'conditions').some(
    (condition) => textAt(condition, 'type') === 'Ready' && textAt(condition, 'status') === 'True',
  );
}

function ageOf(timestamp: string, nowMs: number): string {
  const seconds = Math.floor((nowMs - Date.parse(timestamp)) / 1000);
  if (!Number.isFinite(seconds)) return '<unknown>';
  if (seconds < 120) return `${Math.max(0, seconds)}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
