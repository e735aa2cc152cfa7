import { status } from '@grpc/grpc-js';

import { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import type { CallResult } from '#rpc/calls.ts';
import { KiamClient } from '#rpc/client.ts';
import { type HealthStatus, loadContract } from '#rpc/contract.ts';
import { sleep, systemClock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/within.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createLogger } from '#telemetry/logger.ts';
import { createRegistry } from '#telemetry/registry.ts';

import type { CommandLine } from './flags/command-line.ts';
import { logForeignLines } from './foreign-lines.ts';
import { clientKeepalive } from './keepalive.ts';
import { certificateFiles } from './certificates.ts';

type HealthFlags = Extract<CommandLine, { kind: 'health' }>['flags'];

/** Kiam's interval between attempts. */
const RETRY_MS = 100;

/** Asks a server for its health until it answers or the time is up; exits 0 or 1 and says why. */
export async function runHealth({
  flags,
  warnings,
}: {
  flags: HealthFlags;
  warnings: readonly string[];
}): Promise<void> {
  const logger = createLogger({ json: flags.jsonLog, level: flags.level });
  logForeignLines(logger);
  for (const warning of warnings) logger.warn(warning);
  const outcome = await checkHealth(flags);
  if (outcome.ok) {
    logger.info(`healthy: ${outcome.message}`);
    process.exit(0);
  }
  logger.error('error checking health', { error: outcome.reason });
  process.exit(1);
}

type Health = { readonly ok: true; readonly message: string } | { readonly ok: false; readonly reason: string };

async function checkHealth(flags: HealthFlags): Promise<Health> {
  const registry = createRegistry({ processMetrics: false });
  const quiet = createLogger({ json: false, level: 'error', write: () => {} });
  const certificates = new CertificateWatcher({
    files: certificateFiles(flags),
    clock: systemClock,
    logger: quiet,
    gauges: createTlsMetrics(registry, 'client'),
  });
  await certificates.refresh();
  if (certificates.current === undefined) return { ok: false, reason: certificates.problem ?? 'no certificate' };
  const client = new KiamClient({
    contract: loadContract(),
    serverAddress: flags.serverAddress.text,
    certificates,
    keepalive: clientKeepalive(flags),
    counters: createGrpcMetrics(registry, 'client'),
  });
  return askUntil(client, flags.timeoutMs, flags.gatewayTimeoutCreationMs);
}

async function askUntil(client: KiamClient, timeoutMs: number, creationTimeoutMs: number): Promise<Health> {
  const { signal } = startDeadline(systemClock, timeoutMs);
  const startedMs = systemClock.monotonic();
  const connected = await client.waitUntilConnected(Math.min(timeoutMs, creationTimeoutMs));
  let reason = `no connection to a server within ${Math.min(timeoutMs, creationTimeoutMs)} ms`;
  do {
    const leftMs = Math.max(1, timeoutMs - (systemClock.monotonic() - startedMs));
    const answer: CallResult<HealthStatus> = await client.call('GetHealth', {}, { timeoutMs: leftMs, signal });
    if (answer.ok) return { ok: true, message: answer.response.message };
    const outOfTime = signal.aborted || (!connected && answer.code === status.DEADLINE_EXCEEDED);
    if (!outOfTime) reason = answer.details;
    if (!connected) break;
    await sleep(systemClock, RETRY_MS, signal);
  } while (!signal.aborted);
  return { ok: false, reason };
}
