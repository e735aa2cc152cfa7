import { at, type Json, type JsonObject, listAt, objectAt, textAt, textsAt } from '../json.ts';
import type { StoredObject } from './objects.ts';

/** Whether a node takes pods with this spec: node selector, required node affinity, taints that keep pods away. */
export function admits(node: StoredObject, podSpec: JsonObject): boolean {
  const labels = textsAt(node.metadata, 'labels');
  const selector = Object.entries(textsAt(podSpec, 'nodeSelector'));
  return (
    selector.every(([name, value]) => labels[name] === value) &&
    affinityAdmits(labels, podSpec) &&
    listAt(node.content, 'spec', 'taints').every((taint) => isTolerated(taint, podSpec))
  );
}

type Labels = Readonly<Record<string, string>>;

/** One of the terms must hold, and a term holds when all its expressions do. */
function affinityAdmits(labels: Labels, podSpec: JsonObject): boolean {
  const required = at(podSpec, 'affinity', 'nodeAffinity', 'requiredDuringSchedulingIgnoredDuringExecution');
  const terms = listAt(required, 'nodeSelectorTerms');
  if (terms.length === 0) return true;
  return terms.some((term) => listAt(term, 'matchExpressions').every((expression) => holds(labels, expression)));
}

function holds(labels: Labels, expression: Json): boolean {
  const key = textAt(expression, 'key');
  const value = labels[key];
  const values = listAt(expression, 'values');
  switch (textAt(expression, 'operator')) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      return false;
  }
}

/** https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/ */
function isTolerated(taint: Json, podSpec: JsonObject): boolean {
  const effect = textAt(taint, 'effect');
  if (effect === 'PreferNoSchedule') return true;
  return listAt(podSpec, 'tolerations').some((toleration) => {
    const key = textAt(toleration, 'key');
    const ofEffect = [effect, ''].includes(textAt(toleration, 'effect'));
    if (textAt(toleration, 'operator') === 'Exists') return ofEffect && (key === '' || key === textAt(taint, 'key'));
    return ofEffect && key === textAt(taint, 'key') && textAt(toleration, 'value') === textAt(taint, 'value');
  });
}

/** Whether labels have all that a `matchLabels` names; an empty one selects nothing. */
export function isSelected(object: StoredObject, matchLabels: JsonObject): boolean {
  const wanted = Object.entries(matchLabels);
  return wanted.length > 0 && wanted.every(([name, value]) => object.metadata.labels?.[name] === value);
}

export function isReady(pod: StoredObject): boolean {
  const isTrue = (condition: Json): boolean =>
    textAt(condition, 'type') === 'Ready' && textAt(condition, 'status') === 'True';
  return (
    pod.metadata.deletionTimestamp === undefined && listAt(objectAt(pod.content, 'status'), 'conditions').some(isTrue)
  );
}
