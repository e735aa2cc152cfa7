import { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import type { CertificateFiles } from '#rpc/certificates.ts';
import type { TlsMetrics } from '#telemetry/grpc-metrics.ts';

import type { Daemon } from './daemon.ts';
import type { FlagsOf } from './flags/option.ts';
import type { TLS_OPTIONS } from './flags/table.ts';

/** What the flags name. */
export function certificateFiles({ cert, key, ca }: FlagsOf<typeof TLS_OPTIONS>): CertificateFiles {
  return { certPath: cert, keyPath: key, caPath: ca };
}

/** Reads the certificates that the flags name, and keeps watching them. */
export async function watchCertificates(
  flags: FlagsOf<typeof TLS_OPTIONS>,
  { clock, logger, shutdown }: Daemon,
  gauges: TlsMetrics,
): Promise<CertificateWatcher> {
  const watcher = new CertificateWatcher({ files: certificateFiles(flags), clock, logger, gauges });
  await watcher.refresh();
  void watcher.watch(shutdown.signal);
  return watcher;
}
