import type { CounterSeries, HotCounter } from '#telemetry/hot-metrics.ts';

import type { Client, CredentialSource } from './ports.ts';

/** Namespaces of a node's pods that are counted by name; further ones are counted together. */
const MOST_NAMESPACES = 100;
const OTHER = 'other';
const UNKNOWN = 'unknown';

/**
 * Counts requests that bring no session token, by the namespace of the pod, as CloudWatch's MetadataNoToken does for instances:
 * where the count no longer grows, `--require-imdsv2` refuses nobody.
 */
export function createTokenlessCount(
  source: CredentialSource,
  counter: HotCounter<'namespace'>,
): (client: Client) => void {
  const series = new Map<string, CounterSeries>();
  const byClient = new WeakMap<Client, CounterSeries>();
  const seriesOf = (namespace: string): CounterSeries => {
    const known = series.get(namespace);
    if (known !== undefined) return known;
    const name = namespace === UNKNOWN || series.size < MOST_NAMESPACES ? namespace : OTHER;
    const found = counter.series({ namespace: name });
    if (name === namespace) series.set(name, found);
    return found;
  };
  return (client) => {
    let counted = byClient.get(client);
    if (counted === undefined) {
      const namespace = source.namespaceOf(client.address);
      counted = seriesOf(namespace === '' ? UNKNOWN : namespace);
      // A pod that is not known yet may be at the connection's next request.
      if (namespace !== '') byClient.set(client, counted);
    }
    counted.inc();
  };
}
