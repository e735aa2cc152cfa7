import { isJsonList, isJsonObject, type Json, type JsonObject } from '../json.ts';
import { ApiError, badRequest } from './api-error.ts';

/** Applies a patch of the given media type; throws 400, 415 or 422 for what cannot be applied. */
export function applyPatch(mediaType: string, target: JsonObject, patch: Json | undefined): JsonObject {
  switch (mediaType) {
    case 'application/merge-patch+json':
      return mergeObject(target, patchObject(patch));
    case 'application/strategic-merge-patch+json':
      return strategicMerge(target, patchObject(patch), '');
    case 'application/json-patch+json':
      return jsonPatch(target, patch);
    default: {
      const supported =
        'application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json';
      const message = `the body of the request was in an unknown format - accepted media types include: ${supported}`;
      throw new ApiError(415, 'UnsupportedMediaType', message);
    }
  }
}

function patchObject(patch: Json | undefined): JsonObject {
  if (!isJsonObject(patch))
    throw badRequest('error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}');
  return patch;
}

/** RFC 7386. */
function mergeObject(target: JsonObject, patch: JsonObject): JsonObject {
  const merged = new Map(Object.entries(target));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else merged.set(name, mergeValue(merged.get(name), value));
  }
  return Object.fromEntries(merged);
}

function mergeValue(target: Json | undefined, patch: Json | undefined): Json | undefined {
  if (!isJsonObject(patch)) return patch;
  return mergeObject(isJsonObject(target) ? target : {}, patch);
}

/** By which field the entries of a list are told apart (the `patchMergeKey` tags of Kubernetes' `core/v1/types.go`). */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  containers: 'name',
  initContainers: 'name',
  ephemeralContainers: 'name',
  env: 'name',
  volumes: 'name',
  imagePullSecrets: 'name',
  volumeMounts: 'mountPath',
  volumeDevices: 'devicePath',
  ports: 'containerPort',
  hostAliases: 'ip',
  conditions: 'type',
  podIPs: 'ip',
  hostIPs: 'ip',
  ownerReferences: 'uid',
  addresses: 'type',
  secrets: 'name',
};

/** Ports of containers and those of Services share a name, and not a key. */
function mergeKey(field: string, entries: readonly Json[]): string | undefined {
  const isOfService = field === 'ports' && entries.some((entry) => isJsonObject(entry) && 'port' in entry);
  return isOfService ? 'port' : MERGE_KEYS[field];
}

/** Lists of plain values that are merged as sets. */
const MERGED_SETS = new Set(['finalizers']);

/**
 * https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md as far
 * as the resources that are served here need it.
 */
function strategicMerge(target: JsonObject, patch: JsonObject, field: string): JsonObject {
  if (patch['$patch'] === 'replace') return withoutDirectives(patch);
  if (patch['$patch'] === 'delete') return {};
  const merged = new Map(Object.entries(target));
  for (const [name, value] of Object.entries(patch)) {
    if (name.startsWith('$deleteFromPrimitiveList/')) {
      const list = name.slice(name.indexOf('/') + 1);
      merged.set(list, without(merged.get(list), value));
    } else if (!name.startsWith('$')) {
      if (value === null) merged.delete(name);
      // A label that happens to be called like a list holds a text, and is taken as one.
      else merged.set(name, strategicValue(merged.get(name), value, field === 'labels' ? '' : name));
    }
  }
  return Object.fromEntries(merged);
}

function strategicValue(target: Json | undefined, patch: Json | undefined, field: string): Json | undefined {
  if (isJsonObject(patch)) return strategicMerge(isJsonObject(target) ? target : {}, patch, field);
  if (!isJsonList(patch)) return patch;
  const current = isJsonList(target) ? target : [];
  if (MERGED_SETS.has(field)) return [...new Set([...current, ...patch])];
  const key = mergeKey(field, [...current, ...patch]);
  return key === undefined ? patch : mergeByKey(current, patch, key, field);
}

function mergeByKey(current: readonly Json[], patch: readonly Json[], key: string, field: string): readonly Json[] {
  if (patch.some((entry) => isJsonObject(entry) && entry['$patch'] === 'replace')) {
    return patch.filter((entry) => !isJsonObject(entry) || entry['$patch'] !== 'replace');
  }
  const merged = [...current];
  for (const entry of patch.filter(isJsonObject)) {
    const index = merged.findIndex((candidate) => isJsonObject(candidate) && candidate[key] === entry[key]);
    const existing = merged[index];
    if (entry['$patch'] === 'delete') {
      if (index !== -1) merged.splice(index, 1);
    } else if (index === -1) merged.push(strategicMerge({}, entry, field));
    else merged[index] = strategicMerge(isJsonObject(existing) ? existing : {}, entry, field);
  }
  return merged;
}

function without(list: Json | undefined, removed: Json | undefined): readonly Json[] {
  const gone = new Set(isJsonList(removed) ? removed : []);
  return isJsonList(list) ? list.filter((entry) => !gone.has(entry)) : [];
}

function withoutDirectives(patch: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(patch).filter(([name]) => !name.startsWith('$')));
}

/** RFC 6902, but for `move` and `copy`, which no Kubernetes client that we know of sends. */
function jsonPatch(target: JsonObject, patch: Json | undefined): JsonObject {
  if (!isJsonList(patch))
    throw badRequest('error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch');
  let result: Json | undefined = target;
  for (const operation of patch) {
    if (!isJsonObject(operation) || typeof operation['path'] !== 'string')
      throw badRequest('error decoding patch: operation without path');
    const path = operation['path']
      .split('/')
      .slice(1)
      .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
    result = operate(result, path, operation);
  }
  if (!isJsonObject(result)) throw badRequest('error decoding patch: the result is not an object');
  return result;
}

function operate(target: Json | undefined, path: readonly string[], operation: JsonObject): Json | undefined {
  const [step, ...rest] = path;
  if (step === undefined) {
    if (operation['op'] === 'test' && JSON.stringify(target) !== JSON.stringify(operation['value'])) {
      throw new ApiError(422, 'Invalid', 'the server rejected our request due to an error in our request');
    }
    return operation['op'] === 'test' ? target : operation['value'];
  }
  if (isJsonList(target)) return operateOnList(target, step, rest, operation);
  if (!isJsonObject(target)) throw unappliable();
  const exists = Object.hasOwn(target, step);
  if (!exists && (rest.length > 0 || operation['op'] !== 'add')) throw unappliable();
  const fields = new Map(Object.entries(target));
  if (rest.length === 0 && operation['op'] === 'remove') fields.delete(step);
  else fields.set(step, operate(fields.get(step), rest, operation));
  return Object.fromEntries(fields);
}

function operateOnList(target: readonly Json[], step: string, rest: readonly string[], operation: JsonObject): Json {
  const index = step === '-' ? target.length : Number(step);
  const adds = operation['op'] === 'add' && rest.length === 0;
  if (!Number.isInteger(index) || index < 0 || index > target.length - (adds ? 0 : 1)) throw unappliable();
  if (adds) return target.toSpliced(index, 0, operation['value'] ?? null);
  if (rest.length === 0 && operation['op'] === 'remove') return target.toSpliced(index, 1);
  return target.toSpliced(index, 1, operate(target[index], rest, operation) ?? null);
}

function unappliable(): ApiError {
  const message = `the server rejected our request due to an error in our request: an operation does not apply`;
  return new ApiError(422, 'Invalid', message);
}
