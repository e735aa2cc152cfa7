import { StsCredentialCache } from '#aws/credential-cache.ts';
import { createCredentialCacheMetrics, createServerCredentialsMetric } from '#aws/metrics.ts';
import type { Sts } from '#aws/sts.ts';
import { createStsGateway, type StsGateway } from '#aws/sts-gateway.ts';
import type { SessionRules } from '#domain/attribution.ts';
import { type Identity, identityOf } from '#domain/identity.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { Decision } from '#domain/policy.ts';
import { createStsMetrics } from '#telemetry/kiam-metrics.ts';
import type { Registry } from 'prom-client';

import type { Daemon } from './daemon.ts';
import { refreshBeforeExpiryMs, type ServerFlags } from './flags/server.ts';
import { ownCredentialsOptions } from './own-credentials.ts';

type Flags = Pick<
  ServerFlags,
  'region' | 'session' | 'sessionDurationMs' | 'sessionRefreshMs' | 'assumeRoleArn' | 'stsRate'
>;

/** The source of pods' credentials, and whether AWS accepts the server's own identity. `through` wraps calls to STS. */
export function createCredentials(
  flags: Flags,
  baseArn: string,
  { clock, logger, shutdown }: Daemon,
  registry: Registry,
  through: (sts: Sts) => Sts = (sts) => sts,
): { readonly credentials: StsCredentialCache; readonly proof: StsGateway['proof'] } {
  const sts = createStsGateway({
    ...ownCredentialsOptions(flags, baseArn),
    clock,
    logger,
    remaining: createServerCredentialsMetric(registry),
  });
  shutdown.add({ name: 'STS gateway', limitMs: 1000, close: () => sts.close() });
  const credentials = new StsCredentialCache({
    sts: through(sts),
    clock,
    logger,
    sessionMs: flags.sessionDurationMs,
    sessionRefreshMs: refreshBeforeExpiryMs(flags),
    defaultSessionName: flags.session,
    callsPerSecond: flags.stsRate,
    kiamMetrics: createStsMetrics(registry),
    metrics: createCredentialCacheMetrics(registry),
  });
  shutdown.add({ name: 'credential cache', limitMs: 1000, close: () => credentials.close() });
  return { credentials, proof: sts.proof };
}

/** The identity that a pod may have; undefined when it has no role or policy refuses it. */
export function identify(
  policy: { decide(pod: PodRecord, requestedRole: string): Decision },
  pod: PodRecord,
  sessions: SessionRules,
): Identity | undefined {
  if (pod.role === '') return undefined;
  const decision = policy.decide(pod, pod.role);
  return decision.allowed ? identityOf(pod, decision.roleArn, sessions) : undefined;
}
