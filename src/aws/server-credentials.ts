import type { Clock } from '#runtime/clock.ts';
import { unlessAborted } from '#runtime/within.ts';
import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import type { Identity } from '#domain/identity.ts';
import type { Fields, Logger } from '#telemetry/logger.ts';
import { oncePerChange } from '#telemetry/once.ts';
import { assumeRole } from './assume-role.ts';
import { StsCredentialCache } from './credential-cache.ts';
import { createSessionDurations } from './session-durations.ts';
import { createRenewableClient, type RenewableClient } from './renewable-client.ts';
import type { StsClientOptions } from './sts-client.ts';
import { createStsClient } from './sts-client.ts';
import type { StsFailure } from './sts.ts';
import { ownCredentialsFailure, readStsError, unavailable } from './sts-failure.ts';

/** The server's own credentials for STS. */
export interface ServerCredentials {
  /** Signs with the server's credentials. */
  readonly client: RenewableClient;
  /** Waits until there are credentials to sign with; what is wrong when there are none. Never rejects. */
  ready(signal: AbortSignal): Promise<StsFailure | undefined>;
  /** STS did not accept them: get new ones as soon as possible. */
  renew(): void;
  close(): void;
}

export interface ServerCredentialsOptions {
  readonly client: Omit<StsClientOptions, 'credentials'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Receives the life left in seconds, each time that it is checked. */
  readonly remaining: { set(seconds: number): void };
}

/**
 * The SDK renews credentials with under five minutes left in the background of a call, so they have to be asked for often
 * enough.
 */
const LOOK_INTERVAL_MS = 30_000;

const CHAIN_STEP = "cannot load the server's own AWS credentials";

export interface ChainCredentialsOptions extends ServerCredentialsOptions {
  /** The region in which the chain itself calls AWS, for web identity and the like. */
  readonly chainRegion: string;
}

/** The credentials of the SDK's default chain. They are looked at in the background, so that no pod waits for their renewal. */
export function createChainCredentials(options: ChainCredentialsOptions): ServerCredentials {
  const { clock, logger, remaining } = options;
  const chain = createStsClient({ ...options.client, region: options.chainRegion });
  const client = createRenewableClient(() =>
    createStsClient({ ...options.client, credentials: chain.config.credentials }),
  );
  const isNews = oncePerChange('well');
  let isClosed = false;
  let cancelLook = (): void => {};

  const load = async (forceRefresh: boolean): Promise<StsFailure | undefined> => {
    try {
      const { expiration } = await client.current.config.credentials(forceRefresh ? { forceRefresh } : {});
      if (expiration !== undefined) remaining.set((expiration.getTime() - clock.now()) / 1000);
      isNews('well');
      return undefined;
    } catch (error) {
      const { message } = readStsError(error);
      const failure = ownCredentialsFailure(CHAIN_STEP, { code: '', detail: message });
      if (isNews('failing')) logger.error(CHAIN_STEP, { error: message });
      return failure;
    }
  };
  const look = async (): Promise<void> => {
    await load(false);
    if (!isClosed) cancelLook = clock.after(LOOK_INTERVAL_MS, () => void look());
  };
  void look();

  return {
    client,
    // The SDK's chain cannot be cancelled; the caller stops waiting.
    ready: (signal) => unlessAborted(load(false), signal, () => unavailable(`${CHAIN_STEP}: it takes too long`)),
    renew: () => void load(true),
    close: () => {
      isClosed = true;
      cancelLook();
      client.destroy();
      chain.destroy();
    },
  };
}

export interface RoleCredentialsOptions extends ServerCredentialsOptions {
  /** The credentials that assume the role. */
  readonly base: ServerCredentials;
  readonly roleArn: string;
  /** The wanted length of a session, in seconds. */
  readonly sessionDurationSeconds: number;
  readonly random?: () => number;
}

const ROLE_STEP = "cannot assume the server's own role";

/** An hour is the longest that AWS allows where one role assumes another. */
const LONGEST_CHAINED_SECONDS = 3600;

/**
 * The session of the role that the server assumes first: one entry of a credential cache of its own, renewed like any other.
 */
export function createRoleCredentials(options: RoleCredentialsOptions): ServerCredentials {
  const { base, clock, roleArn, remaining, random } = options;
  const logger = withFields(options.logger, { step: "server's own role" });
  const durations = createSessionDurations(Math.min(options.sessionDurationSeconds, LONGEST_CHAINED_SECONDS));
  const identity: Identity = { roleArn, sessionName: '', externalId: '', attribution: NO_ATTRIBUTION };
  const closing = new AbortController();
  const cache = new StsCredentialCache({
    clock,
    logger,
    sessionRefreshMs: 0,
    defaultSessionName: '',
    ...(random === undefined ? {} : { random }),
    sts: {
      assumeRole: async (_identity, signal) => {
        const missing = await base.ready(signal);
        if (missing !== undefined) return missing;
        // Kiam's SDK names the server's session by the time in nanoseconds.
        const sessionName = `${Math.trunc(clock.now())}000000`;
        const outcome = await assumeRole(
          { client: base.client, durations, clock, logger },
          { ...NO_ATTRIBUTION, roleArn, sessionName, externalId: '' },
          signal,
        );
        if (!outcome.ok && outcome.category === 'own-credentials') base.renew();
        return outcome;
      },
    },
  });
  const credentials = signingCredentials(cache, identity, closing.signal);
  const client = createRenewableClient(() => createStsClient({ ...options.client, credentials }));
  let cancelLook = (): void => {};
  const look = (): void => {
    const leftMs = cache.remainingMs(identity);
    if (leftMs !== undefined) remaining.set(leftMs / 1000);
    cancelLook = clock.after(LOOK_INTERVAL_MS / 6, look);
  };
  look();
  void cache.get(identity, 'prefetch', closing.signal);

  return {
    client,
    ready: async (signal) => {
      const outcome = await cache.get(identity, 'request', signal);
      if (outcome.ok) return undefined;
      return ownCredentialsFailure(ROLE_STEP, { code: '', detail: outcome.detail });
    },
    renew: () => cache.renew(identity),
    close: () => {
      closing.abort();
      cancelLook();
      cache.close();
      client.destroy();
      base.close();
    },
  };
}

/**
 * The session in the SDK's form, asked for with each call. `memoized` tells the SDK not to keep it: its own memory would hold on
 * to a set until five minutes before its end, whatever had come in the meantime.
 */
function signingCredentials(cache: StsCredentialCache, identity: Identity, signal: AbortSignal) {
  const provide = async () => {
    const outcome = await cache.get(identity, 'request', signal);
    if (!outcome.ok) throw new Error(outcome.detail);
    const { accessKeyId, secretAccessKey, sessionToken, expiresAtMs } = outcome.value;
    return { accessKeyId, secretAccessKey, sessionToken, expiration: new Date(expiresAtMs) };
  };
  return Object.assign(provide, { memoized: true });
}
function withFields(logger: Logger, extra: Fields): Logger {
  return {
    debug: (message, fields) => logger.debug(message, { ...fields, ...extra }),
    info: (message, fields) => logger.info(message, { ...fields, ...extra }),
    warn: (message, fields) => logger.warn(message, { ...fields, ...extra }),
    error: (message, fields) => logger.error(message, { ...fields, ...extra }),
  };
}
