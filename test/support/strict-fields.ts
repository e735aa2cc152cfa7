import * as models from '@kubernetes/client-node';

import { type Json, isJsonList, isJsonObject, type JsonObject, textAt } from '#sandbox/json.ts';

interface Attribute {
  readonly baseName: string;
  readonly type: string;
}

/**
 * What strict validation (`kubectl apply --validate=strict`) would refuse: fields that Kubernetes does not know, and values of
 * another type, each as a path. The types are those of the Kubernetes OpenAPI document, as the client library was made from
 * them. Undefined for kinds that are not Kubernetes' own.
 */
export function strictFaults(object: JsonObject): string[] | undefined {
  const kind = textAt(object, 'kind');
  const attributes = attributesOf(`V1${kind}`);
  return attributes === undefined ? undefined : faultsOfObject(object, attributes, kind);
}

function faultsOfObject(object: JsonObject, attributes: readonly Attribute[], path: string): string[] {
  return Object.entries(object).flatMap(([name, value]) => {
    const attribute = attributes.find(({ baseName }) => baseName === name);
    if (attribute === undefined) return [`${path}.${name} is unknown`];
    return faultsOf(value, attribute.type, `${path}.${name}`);
  });
}

function faultsOf(value: Json | undefined, type: string, path: string): string[] {
  const [, entryType] = /^Array<(.+)>$/.exec(type) ?? [];
  if (entryType !== undefined) {
    if (!isJsonList(value)) return [`${path} is no list`];
    return value.flatMap((entry, index) => faultsOf(entry, entryType, `${path}[${index}]`));
  }
  const [, valueType] = /^\{ \[key: string\]: (.+?);? \}$/.exec(type) ?? [];
  if (valueType !== undefined) {
    if (!isJsonObject(value)) return [`${path} is no object`];
    return Object.entries(value).flatMap(([name, entry]) => faultsOf(entry, valueType, `${path}.${name}`));
  }
  switch (type) {
    case 'any':
      return [];
    case 'string':
    case 'number':
    case 'boolean':
      return typeof value === type ? [] : [`${path} is no ${type}`];
    case 'IntOrString':
      return typeof value === 'string' || typeof value === 'number' ? [] : [`${path} is neither number nor text`];
    default: {
      const attributes = attributesOf(type);
      if (attributes === undefined) return [`${path} has the type ${type}, which is not known here`];
      return isJsonObject(value) ? faultsOfObject(value, attributes, path) : [`${path} is no object`];
    }
  }
}

function attributesOf(type: string): readonly Attribute[] | undefined {
  const model: unknown = Object.hasOwn(models, type) ? Reflect.get(models, type) : undefined;
  if (typeof model !== 'function' || !('getAttributeTypeMap' in model)) return undefined;
  const { getAttributeTypeMap } = model;
  return typeof getAttributeTypeMap === 'function'
    ? (Reflect.apply(getAttributeTypeMap, model, []) as Attribute[])
    : undefined;
}
