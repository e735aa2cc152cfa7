import { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import type { TlsMetrics } from '#telemetry/grpc-metrics.ts';

import type { Daemon } from './daemon.ts';
import type { TlsFlags } from './flags/common.ts';

/** Reads the certificates that the flags name, and goes on watching them. */
export async function watchCertificates(
  { certificateFile, keyFile, authorityFile }: TlsFlags,
  { clock, logger, shutdown }: Daemon,
  gauges: TlsMetrics,
): Promise<CertificateWatcher> {
  const files = { certPath: certificateFile, keyPath: keyFile, caPath: authorityFile };
  const watcher = new CertificateWatcher({ files, clock, logger, gauges });
  await watcher.refresh();
  void watcher.watch(shutdown.signal);
  return watcher;
}
