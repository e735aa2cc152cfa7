import type { Fields, Logger } from '#telemetry/logger.ts';
import type { ObjectChange } from './object-store.ts';

/**
 * A debug line for each change of what is watched, as Kiam's handlers write it (Kiam, `pkg/k8s/pod_cache.go`,
 * `namespace_cache.go`).
 */
export function logChanges<R>(
  cache: { subscribe(listener: (change: ObjectChange<R>) => void): unknown },
  options: { readonly logger: Logger; readonly kind: 'pod' | 'namespace'; readonly fields: (record: R) => Fields },
): void {
  const { logger, kind, fields } = options;
  cache.subscribe(({ previous, current }) => {
    if (current !== undefined) {
      logger.debug(previous === undefined ? `added ${kind}` : `updated ${kind}`, fields(current));
    } else if (previous !== undefined) {
      logger.debug(`deleted ${kind}`, fields(previous));
    }
  });
}
