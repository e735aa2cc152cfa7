import { at, type Json, textAt } from '../json.ts';
import { badRequest } from './api-error.ts';
import type { StoredObject } from './objects.ts';
import type { Resource } from './resources.ts';

export type Selector = (object: StoredObject) => boolean;

const EVERYTHING: Selector = () => true;

/** The fields that may select, per resource (Kubernetes, `pkg/apis/core/v1/conversion.go`). */
const SELECTABLE: Readonly<Record<string, readonly string[]>> = {
  pods: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  namespaces: ['status.phase'],
  events: [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
  nodes: ['spec.unschedulable'],
};

/** Reads a `fieldSelector`; throws a 400 for what the real server refuses. */
export function parseFieldSelector(resource: Resource, text: string): Selector {
  if (text === '') return EVERYTHING;
  const terms = text.split(',').map((term) => {
    const [, field, operator, value] = /^([^=!]+)(==|=|!=)(.*)$/s.exec(term) ?? [];
    if (field === undefined || value === undefined) {
      throw badRequest(
        `Unable to find "${apiName(resource)}" that match label selector "", field selector "${text}": invalid selector: '${term}'; can't understand '${term}'`,
      );
    }
    const known =
      field === 'metadata.name' || field === 'metadata.namespace' || SELECTABLE[resource.name]?.includes(field);
    if (known !== true) {
      throw badRequest(
        `Unable to find "${apiName(resource)}" that match label selector "", field selector "${text}": field label not supported: ${field}`,
      );
    }
    return { path: field.split('.'), value, negated: operator === '!=' };
  });
  return (object) => terms.every(({ path, value, negated }) => (fieldOf(object, path) === value) !== negated);
}

function apiName(resource: Resource): string {
  return `/${resource.version}, Resource=${resource.name}`;
}

function fieldOf(object: StoredObject, path: readonly string[]): string {
  const [first, second] = path;
  if (first === 'metadata') return second === 'name' ? object.metadata.name : object.metadata.namespace;
  if (first === 'source' && second === undefined) return textAt(object.content, 'source', 'component');
  const value: Json | undefined = at(object.content, ...path);
  if (typeof value === 'boolean') return String(value);
  return typeof value === 'string' ? value : path.join('.') === 'spec.hostNetwork' ? 'false' : '';
}

type Labels = Readonly<Record<string, string>>;

/** Reads a `labelSelector`: equality, `in`, `notin`, `exists` and its negation; throws a 400 for anything else. */
export function parseLabelSelector(text: string): Selector {
  if (text.trim() === '') return EVERYTHING;
  const terms = splitTerms(text).map((term) => parseTerm(term.trim()));
  return (object) => {
    const labels = object.metadata.labels ?? {};
    return terms.every((term) => term(labels));
  };
}

/** Commas separate the terms, but not the values in parentheses. */
function splitTerms(text: string): string[] {
  return text.split(/,(?![^(]*\))/);
}

const KEY = '[A-Za-z0-9][-A-Za-z0-9_./]*';
const EQUALITY = new RegExp(`^(${KEY})\\s*(==|=|!=)\\s*([-A-Za-z0-9_.]*)$`);
const SET = new RegExp(`^(${KEY})\\s+(in|notin)\\s+\\(([^()]*)\\)$`);
const EXISTENCE = new RegExp(`^(!?)\\s*(${KEY})$`);

function parseTerm(term: string): (labels: Labels) => boolean {
  const [, key, operator, value] = EQUALITY.exec(term) ?? SET.exec(term) ?? [];
  if (key !== undefined && operator !== undefined && value !== undefined) {
    const values = new Set(value.split(',').map((one) => one.trim()));
    const negated = operator === '!=' || operator === 'notin';
    return (labels) => (Object.hasOwn(labels, key) && values.has(labels[key] ?? '')) !== negated;
  }
  const [, not, existing] = EXISTENCE.exec(term) ?? [];
  if (existing === undefined) throw badRequest(`unable to parse requirement: found '${term}', expected: identifier`);
  return (labels) => Object.hasOwn(labels, existing) !== (not === '!');
}
