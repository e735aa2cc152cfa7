/** The value under which whatever comes after the first `most` values is counted. */
export const OTHER = 'other';

/** Bounds the number of a label's values where others choose them: each value is a time series and is kept for ever. */
export function createBoundedLabel(most: number): (value: string) => string {
  const known = new Set<string>();
  return (value) => {
    if (known.has(value)) return value;
    if (known.size >= most) return OTHER;
    known.add(value);
    return value;
  };
}
