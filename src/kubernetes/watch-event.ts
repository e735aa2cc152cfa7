import { field, isObject, parseJson, textField } from './json-fields.ts';

/** One line of a watch (https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes). */
export type WatchEvent =
  | { readonly kind: 'state' | 'deleted'; readonly object: unknown }
  | { readonly kind: 'bookmark'; readonly resourceVersion: string }
  | { readonly kind: 'error'; readonly code: number; readonly message: string }
  | { readonly kind: 'unreadable'; readonly reason: 'garbage' | 'unknown-type' };

export function parseWatchEvent(line: string): WatchEvent {
  const parsed = parseJson(line);
  const object = field(parsed, 'object');
  if (!isObject(object)) return { kind: 'unreadable', reason: 'garbage' };
  switch (textField(parsed, 'type')) {
    case 'ADDED':
    case 'MODIFIED':
      return { kind: 'state', object };
    case 'DELETED':
      return { kind: 'deleted', object };
    case 'BOOKMARK':
      return { kind: 'bookmark', resourceVersion: textField(field(object, 'metadata'), 'resourceVersion') };
    case 'ERROR': {
      const code = field(object, 'code');
      return {
        kind: 'error',
        code: typeof code === 'number' ? code : 0,
        message: oneLine(textField(object, 'message')),
      };
    }
    default:
      return { kind: 'unreadable', reason: 'unknown-type' };
  }
}

/** The message of a `Status` object or of another error answer, cut to fit a log line. */
export function statusMessage(body: string): string {
  const message = textField(parseJson(body), 'message');
  return oneLine(message === '' ? body : message);
}

function oneLine(text: string): string {
  return text
    .slice(0, 300)
    .replace(/\p{Cc}+/gu, ' ')
    .trim();
}
