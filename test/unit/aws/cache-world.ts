import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import type { CredentialOutcome } from '#domain/credentials.ts';
import type { CredentialCacheOptions } from '#aws/credential-cache.ts';
import { StsCredentialCache } from '#aws/credential-cache.ts';
import type { Identity } from '#domain/identity.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { repeatableRandom, ScriptedSts } from './scripted-sts.ts';

export interface CacheWorld {
  readonly clock: ManualClock;
  readonly sts: ScriptedSts;
  readonly cache: StsCredentialCache;
  readonly lines: ReturnType<typeof recordingLogger>['lines'];
}

/** A cache with nothing round it but a scripted STS; `using` closes it. */
export function cacheWorld(options: Partial<CredentialCacheOptions> = {}): CacheWorld & Disposable {
  const clock = new ManualClock();
  const sts = new ScriptedSts(clock);
  const { logger, lines } = recordingLogger();
  const cache = new StsCredentialCache({
    sts,
    clock,
    logger,
    sessionRefreshMs: 0,
    defaultSessionName: 'kiam',
    random: repeatableRandom(),
    ...options,
  });
  return { clock, sts, cache, lines, [Symbol.dispose]: () => cache.close() };
}

export function role(name: string | number): Identity {
  return {
    roleArn: `arn:aws:iam::123456789012:role/${name}`,
    sessionName: 'kiam',
    externalId: '',
    attribution: NO_ATTRIBUTION,
  };
}

export function roles(count: number): readonly Identity[] {
  return Array.from({ length: count }, (_, index) => role(`role-${index}`));
}

/** What `retain` is told of identities with a live pod on a node of this replica. */
export function live(...identities: readonly Identity[]) {
  return identities.map((identity) => ({ identity, isRenewed: true }));
}

/** A caller that waits for ever. */
export const PATIENT = new AbortController().signal;

/** A caller that takes what is in memory and does not wait. */
export const IMPATIENT = AbortSignal.abort();

/** What a pod of this replica's node gets with the usual patience, 900 ms of it. */
export async function askPatiently({ cache, clock }: CacheWorld, identity: Identity): Promise<CredentialOutcome> {
  const controller = new AbortController();
  let outcome: CredentialOutcome | undefined;
  void cache.get(identity, 'prefetch', controller.signal);
  void cache.get(identity, 'request', controller.signal).then((result) => {
    outcome = result;
  });
  await clock.advance(900);
  controller.abort();
  await settle();
  return outcome ?? { ok: false, failure: { kind: 'internal', message: 'the caller was not let go' }, detail: '' };
}
