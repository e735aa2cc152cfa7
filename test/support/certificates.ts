import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import type { CertificateFiles } from '#rpc/certificates.ts';
import { systemClock } from '#runtime/clock.ts';
import type { TlsMetrics } from '#telemetry/grpc-metrics.ts';

import { recordingLogger } from './recording-logger.ts';

export interface Pem {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/** A folder that holds certificates as a mounted Secret does: files that are links through `..data`, swapped at once. */
export interface SecretFolder {
  readonly files: CertificateFiles;
  /** Replaces all three files in one step. */
  put(pem: Pem & { readonly caPem: string }): Promise<void>;
  remove(): Promise<void>;
}

export async function createSecretFolder(pem: Pem & { readonly caPem: string }): Promise<SecretFolder> {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-tls-'));
  const names = { certPath: 'tls.pem', keyPath: 'tls-key.pem', caPath: 'ca.pem' };
  const put: SecretFolder['put'] = async ({ certificatePem, privateKeyPem, caPem }) => {
    const version = await mkdtemp(join(folder, '..version-'));
    await writeFile(join(version, names.certPath), certificatePem);
    await writeFile(join(version, names.keyPath), privateKeyPem);
    await writeFile(join(version, names.caPath), caPem);
    await symlink(version, join(folder, '..data_tmp'));
    await rename(join(folder, '..data_tmp'), join(folder, '..data'));
  };
  await put(pem);
  for (const name of Object.values(names)) await symlink(join('..data', name), join(folder, name));
  const files = {
    certPath: join(folder, names.certPath),
    keyPath: join(folder, names.keyPath),
    caPath: join(folder, names.caPath),
  };
  return { files, put, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** A watcher that has read the folder once. */
export async function watchFolder({ files }: SecretFolder, gauges: TlsMetrics): Promise<CertificateWatcher> {
  const watcher = new CertificateWatcher({ files, clock: systemClock, logger: recordingLogger().logger, gauges });
  await watcher.refresh();
  return watcher;
}
