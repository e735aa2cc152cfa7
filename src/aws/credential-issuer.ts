import type { Clock } from '#runtime/clock.ts';
import { awsTimestamp } from '#domain/credentials.ts';
import type { Identity } from '#domain/identity.ts';
import { within } from '#runtime/within.ts';
import { credentialsFields, identityFields } from '#telemetry/fields.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerKey } from '#telemetry/once.ts';
import { visibleIdentity } from './credential-fields.ts';
import { lifetimeOf } from './lifetime.ts';
import type { CredentialCacheMetrics, KiamStsMetrics } from './metrics.ts';
import type { Sts, StsFailure, StsOutcome, StsSuccess } from './sts.ts';
import { defect, unavailable } from './sts-failure.ts';

export interface IssuerOptions {
  readonly sts: Sts;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The session name of pods that annotate none: it is not worth a log field. */
  readonly defaultSessionName: string;
  readonly kiamMetrics: KiamStsMetrics | undefined;
  readonly metrics: CredentialCacheMetrics | undefined;
  /** The longest that one call to STS may take, in milliseconds. */
  readonly callLimitMs: number;
  /** Ends every call, at shutdown. */
  readonly signal: AbortSignal;
}

/** Credentials that may be used for `lifeMs` from now, or why there are none. */
export type Issued =
  | { readonly ok: true; readonly success: StsSuccess; readonly lifeMs: number }
  | { readonly ok: false; readonly failure: StsFailure };

/** Calls STS once: within the limit, logged, counted, and with an expiry that was checked. Never rejects. */
export type Issue = (identity: Identity) => Promise<Issued>;

export function createIssuer(options: IssuerOptions): Issue {
  const { clock, logger, kiamMetrics } = options;
  const warn = expiryWarnings(logger);
  return async (identity) => {
    const visible = visibleIdentity(identity, options.defaultSessionName);
    logger.info('requesting credentials', identityFields(visible));
    const startedMs = clock.monotonic();
    kiamMetrics?.assumeRoleCurrent.inc();
    const outcome = await callSts(options, identity);
    kiamMetrics?.assumeRoleCurrent.dec();
    kiamMetrics?.assumeRoleTiming.observe((clock.monotonic() - startedMs) / 1000);
    const issued = judge(outcome, clock.now(), (message) => warn(identity, message, outcome));
    options.metrics?.called(issued.ok ? undefined : issued.failure.category);
    if (issued.ok) {
      const { packedPolicyPercent: percent } = issued.success;
      if (percent > 0) options.metrics?.packed(percent);
      logger.info('fetched credentials', credentialsFields(issued.success.value, visible));
    } else {
      kiamMetrics?.issuingErrors.inc();
      logger.error('error requesting credentials', {
        'pod.iam.roleArn': identity.roleArn,
        reason: issued.failure.category,
        error: issued.failure.detail,
      });
    }
    return issued;
  };
}

function callSts({ clock, callLimitMs, signal, sts }: IssuerOptions, identity: Identity): Promise<StsOutcome> {
  return within<StsOutcome>(
    { clock, limitMs: callLimitMs, signal },
    (callSignal) => sts.assumeRole(identity, callSignal),
    () => unavailable('AWS STS did not answer in time'),
  ).catch(defect);
}

/** Refuses credentials whose expiry leaves no time to use them, and corrects an expiry that no session can have. */
function judge(outcome: StsOutcome, nowMs: number, warn: (message: string) => void): Issued {
  if (!outcome.ok) return { ok: false, failure: outcome };
  const lifetime = lifetimeOf(outcome, nowMs);
  if (lifetime.kind === 'refused') {
    warn('credentials refused: by their expiry there is no time to use them, the clock may be wrong');
    return { ok: false, failure: unavailable('AWS STS issued credentials that expire too soon to be used') };
  }
  if (lifetime.kind === 'believed') return { ok: true, success: outcome, lifeMs: lifetime.lifeMs };
  warn('expiry of credentials corrected: it is later than their session can last, the clock may be wrong');
  // A clock that is off by minutes is ours, and STS's expiry is right for the pod. A difference of years is wrong for everyone:
  // an SDK would keep the credentials past their end.
  const expiresAtMs = lifetime.absurd ? nowMs + lifetime.lifeMs : outcome.value.expiresAtMs;
  return { ok: true, success: { ...outcome, value: { ...outcome.value, expiresAtMs } }, lifeMs: lifetime.lifeMs };
}

/** One warning for each message: a wrong clock makes every call show it. */
function expiryWarnings(logger: Logger): (identity: Identity, message: string, outcome: StsOutcome) => void {
  const isNew = oncePerKey({ most: 10 });
  return (identity, message, outcome) => {
    if (!isNew(message)) return;
    const expiresAtMs = outcome.ok ? outcome.value.expiresAtMs : Number.NaN;
    logger.warn(message, {
      'pod.iam.roleArn': identity.roleArn,
      'credentials.expiration': isDate(expiresAtMs) ? awsTimestamp(expiresAtMs) : String(expiresAtMs),
    });
  };
}

/** Whether Date can hold it: https://tc39.es/ecma262/#sec-time-values-and-time-range */
function isDate(epochMs: number): boolean {
  return Math.abs(epochMs) <= 8.64e15;
}
