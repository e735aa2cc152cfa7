import { stat } from 'node:fs/promises';

import type { Clock } from '#runtime/clock.ts';
import { sleep } from '#runtime/clock.ts';
import type { TlsMetrics } from '#telemetry/grpc-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import {
  type CertificateFiles,
  type CertificateReading,
  type CertificateSnapshot,
  readCertificates,
} from './certificates.ts';

export interface CertificateWatcherOptions {
  readonly files: CertificateFiles;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly gauges: TlsMetrics;
  readonly intervalMs?: number;
}

/** How often the files are looked at. A `stat` of three files is all that an idle look costs. */
const INTERVAL_MS = 1000;

/**
 * The certificates in force. They are published when the three files belong together and are valid; a pair that is not is
 * told in the log once and never replaces a good one. Files are polled: Kubernetes replaces a mounted Secret by swapping a
 * symbolic link two levels up (https://kubernetes.io/docs/concepts/configuration/secret/), which file events miss.
 */
export class CertificateWatcher {
  readonly #options: CertificateWatcherOptions;
  readonly #listeners = new Set<(snapshot: CertificateSnapshot) => void>();
  #current: CertificateSnapshot | undefined;
  #problem: string | undefined;
  #fingerprint = '';

  constructor(options: CertificateWatcherOptions) {
    this.#options = options;
  }

  /** What new connections use; undefined until files that fit each other were read. */
  get current(): CertificateSnapshot | undefined {
    return this.#current;
  }

  /** Why the files as they are now are not in force, for the readiness report; undefined when they are. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Calls `listener` at each publication, at once when there is one already. The returned function ends it. */
  subscribe(listener: (snapshot: CertificateSnapshot) => void): () => void {
    this.#listeners.add(listener);
    if (this.#current !== undefined) listener(this.#current);
    return () => this.#listeners.delete(listener);
  }

  /** Reads the files now. Call it once before the first use, then `watch`. */
  async refresh(): Promise<void> {
    const fingerprint = await this.#look();
    // While something is wrong the files are read at each look: they may have changed within one tick of the clock.
    const nowMs = this.#options.clock.now();
    const expired = this.#current !== undefined && this.#current.expiresAtMs <= nowMs;
    if (fingerprint === this.#fingerprint && this.#problem === undefined && !expired) return;
    this.#fingerprint = fingerprint;
    this.#take(await readCertificates(this.#options.files, nowMs));
  }

  /** Looks at the files until `signal` aborts. Never rejects. */
  async watch(signal: AbortSignal): Promise<void> {
    const { clock, intervalMs = INTERVAL_MS } = this.#options;
    while (!signal.aborted) {
      await sleep(clock, intervalMs, signal);
      if (!signal.aborted) await this.refresh();
    }
  }

  async #look(): Promise<string> {
    const { certPath, keyPath, caPath } = this.#options.files;
    const looks = await Promise.all(
      [certPath, keyPath, caPath].map(async (path) => {
        try {
          const { ino, size, mtimeMs } = await stat(path);
          return `${ino}:${size}:${mtimeMs}`;
        } catch {
          return 'absent';
        }
      }),
    );
    return looks.join(' ');
  }

  #take(reading: CertificateReading): void {
    const { gauges, logger } = this.#options;
    // As Kiam (`pkg/server/tls.go`): what could not be taken says nothing about what is verified.
    const isRead = reading.outcome === 'good' || reading.outcome === 'doubtful';
    gauges.updateError.set(isRead ? 0 : 1);
    if (isRead) gauges.verifyError.set(reading.outcome === 'doubtful' ? 1 : 0);
    const problem = reading.outcome === 'good' ? undefined : reading.reason;
    // Of an authority outside its dates no pair would be better.
    const isTaken = reading.outcome === 'good' || (reading.outcome === 'doubtful' && reading.isForAuthority);
    if (problem !== undefined && problem !== this.#problem) {
      const kept = this.#current === undefined ? 'nothing' : `serial ${this.#current.serialNumber}`;
      if (isTaken) logger.error('the TLS certificate is of an authority outside its dates', { error: problem });
      else logger.error('the TLS certificate cannot be used', { error: problem, kept });
    }
    this.#problem = problem;
    // A doubtful pair is better than none: the other side's refusal will then name it.
    if ('snapshot' in reading && (isTaken || this.#current === undefined)) this.#publish(reading.snapshot);
  }

  #publish(snapshot: CertificateSnapshot): void {
    const previous = this.#current;
    if (previous !== undefined && isSame(previous, snapshot)) return;
    this.#current = snapshot;
    this.#options.gauges.expirySeconds.set(Math.floor(snapshot.expiresAtMs / 1000));
    this.#options.logger.info('TLS certificate in use', {
      serial: snapshot.serialNumber,
      expires: new Date(snapshot.expiresAtMs).toISOString(),
    });
    for (const listener of this.#listeners) listener(snapshot);
  }
}

function isSame(one: CertificateSnapshot, other: CertificateSnapshot): boolean {
  return (
    one.certificatePem.equals(other.certificatePem) &&
    one.privateKeyPem.equals(other.privateKeyPem) &&
    one.caPem.equals(other.caPem)
  );
}
