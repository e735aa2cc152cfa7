const DECIMAL = /^[1-9]\d*$/;

/**
 * Orders two resource versions: negative when `left` is older, 0 when equal, positive when newer. Undefined where they cannot
 * be compared: Kubernetes promises an order only for decimal numbers
 * (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions). They may exceed 2^53.
 */
export function compareVersions(left: string, right: string): number | undefined {
  if (left === right) return 0;
  if (!DECIMAL.test(left) || !DECIMAL.test(right)) return undefined;
  if (left.length !== right.length) return left.length - right.length;
  return left < right ? -1 : 1;
}
