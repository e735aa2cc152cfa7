import type { IncomingMessage } from 'node:http';
import { type StoredObject, toJson } from './objects.ts';
import type { ResourceRequest } from './request.ts';
import { apiVersionOf, type Resource } from './resources.ts';
import type { Version } from './store.ts';
import { objectTable, type TableOptions, wantsTable } from './table.ts';

/** How a client wants to see objects. */
export interface View {
  readonly table: boolean;
  readonly options: TableOptions;
  readonly present: (object: Version | StoredObject) => string;
}

export function viewOf(nowMs: number, message: IncomingMessage, request: ResourceRequest, resource: Resource): View {
  const table = wantsTable(message.headers.accept);
  const options = { nowMs, includeObject: request.query.get('includeObject') ?? 'Metadata' };
  const present = (object: Version | StoredObject): string => {
    const stored = 'object' in object ? object.object : object;
    if (table) return objectTable(resource, stored, options);
    if ('json' in object) return object.json;
    return JSON.stringify({ kind: resource.kind, apiVersion: apiVersionOf(resource), ...toJson(stored) });
  };
  return { table, options, present };
}
