import { listAt, objectAt, textAt } from '../json.ts';
import type { Objects } from './object-writer.ts';
import { PODS, SERVICES } from './resources.ts';
import { isReady, isSelected } from './scheduling.ts';

/** The addresses of the ready pods behind each Service, by `<name>.<namespace>`: what DNS says of a headless one. */
export function serviceAddresses(objects: Objects): ReadonlyMap<string, readonly string[]> {
  const pods = [...objects.collection(PODS).versions()].map(({ object }) => object).filter(isReady);
  const services = objects.collection(SERVICES).sorted();
  return new Map(
    services.map(({ object: service }) => {
      const { name, namespace } = service.metadata;
      const selector = objectAt(service.content, 'spec', 'selector');
      const behind = pods.filter((pod) => pod.metadata.namespace === namespace && isSelected(pod, selector));
      const addresses = behind.flatMap((pod) => listAt(pod.content, 'status', 'podIPs'));
      return [`${name}.${namespace}`, addresses.map((entry) => textAt(entry, 'ip'))];
    }),
  );
}

/** Calls back after every change that may change {@link serviceAddresses}. */
export function onServiceAddresses(objects: Objects, listener: () => void): void {
  for (const resource of [PODS, SERVICES]) objects.collection(resource).subscribe(listener);
}
