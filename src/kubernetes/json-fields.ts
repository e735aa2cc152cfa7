/**
 * Reads a field of a parsed JSON value; undefined where there is none. Only own fields count: `__proto__` is a name like any
 * other.
 */
export function field(value: unknown, name: string): unknown {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

/**
 * As {@link field}, for text: `''` where there is none or where it is of another type. JSON can express half a character
 * (`"\\ud83d"`), on which encoders throw: it becomes U+FFFD, as Go reads it.
 */
export function textField(value: unknown, name: string): string {
  const found = field(value, name);
  return typeof found === 'string' ? found.toWellFormed() : '';
}

/** As {@link field}, for a list: empty where there is none or where it is of another type. */
export function listField(value: unknown, name: string): readonly unknown[] {
  const found: unknown = field(value, name);
  return Array.isArray(found) ? found : [];
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Parses JSON; undefined (which JSON cannot express) where the text is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
