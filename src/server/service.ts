import { canonicalAddress } from '#domain/address.ts';
import { type Credentials, metadataCredentials } from '#domain/credentials.ts';
import { failed, type Outcome, succeeded } from '#domain/failure.ts';
import { identityOf } from '#domain/identity.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { Decision } from '#domain/policy.ts';
import type { WireCredentials } from '#rpc/contract.ts';
import type { CallContext, ServiceHandlers } from '#rpc/server.ts';
import type { Clock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/deadline.ts';
import { podFields } from '#telemetry/fields.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { CredentialCache, PodCache, PodEvents } from './ports.ts';

export interface ServiceOptions {
  readonly pods: PodCache;
  readonly policy: { decide(pod: PodRecord, requestedRole: string): Decision };
  readonly credentials: CredentialCache;
  readonly events: PodEvents;
  readonly logger: Logger;
  readonly clock: Clock;
  /** The session name of pods that annotate none. */
  readonly sessionName: string;
}

/** The longest that a caller waits here for a pod to become known; Kiam's agents then ask again. */
const LONGEST_WAIT_MS = 900;

/** What is kept of the caller's time for the answer to reach it. */
const ANSWER_MARGIN_MS = 50;

/** Answers the contract: who is the pod, may it have the role, and here are its credentials. */
export function createService(options: ServiceOptions): ServiceHandlers {
  const { pods, policy, credentials, events, logger, sessionName, clock } = options;

  /** Runs `task` with what is left of the caller's patience, less what the answer needs to reach it. */
  const withPatience = async <T>(
    { signal, remainingMs }: CallContext,
    task: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> => {
    const patienceMs = Math.max(0, Math.min(LONGEST_WAIT_MS, remainingMs - ANSWER_MARGIN_MS));
    const deadline = startDeadline(clock, patienceMs, signal);
    try {
      return await task(deadline.signal);
    } finally {
      deadline.clear();
    }
  };

  const podAt = async (ip: string, signal: AbortSignal, notFound: string): Promise<Outcome<PodRecord>> => {
    const address = canonicalAddress(ip);
    const lookup = address === undefined ? undefined : await pods.waitFor(address, signal);
    if (lookup?.kind === 'found') return succeeded(lookup.pod);
    const outcome =
      lookup?.kind === 'ambiguous'
        ? failed('multiple-pods', 'multiple running pods found')
        : failed('pod-not-found', notFound);
    logger.info(outcome.failure.message, { 'pod.ip': ip });
    return outcome;
  };

  const refuse = (pod: PodRecord, requestedRole: string, explanation: string): Outcome<never> => {
    logger.error('pod denied by policy', {
      ...podFields(pod),
      'pod.iam.requestedRole': requestedRole,
      'policy.explanation': explanation,
    });
    events.warning(pod, 'KiamRoleForbidden', `failed assuming role "${requestedRole}": ${explanation}`);
    return failed('forbidden', 'forbidden by policy');
  };

  /** Whether what was found for a pod may still go to the address: it may have changed hands, or its annotations. */
  const isStillEntitled = (ip: string, pod: PodRecord, requestedRole: string): boolean => {
    const lookup = pods.find(canonicalAddress(ip) ?? '');
    return (
      lookup.kind === 'found' &&
      lookup.pod.uid === pod.uid &&
      lookup.pod.role === pod.role &&
      lookup.pod.sessionName === pod.sessionName &&
      lookup.pod.externalId === pod.externalId &&
      policy.decide(lookup.pod, requestedRole).allowed
    );
  };

  const podCredentials = async (ip: string, role: string, signal: AbortSignal): Promise<Outcome<WireCredentials>> => {
    const found = await podAt(ip, signal, 'no pod found');
    if (!found.ok) return found;
    const pod = found.value;
    if (pod.role === '') return failed('role-empty', "role can't be empty");
    const decision = policy.decide(pod, role);
    if (!decision.allowed) return refuse(pod, role, decision.explanation);
    const outcome = await credentials.get(identityOf(pod, decision.roleArn, sessionName), 'request', signal);
    if (!outcome.ok) {
      if (outcome.detail !== undefined) {
        events.warning(pod, 'KiamCredentialError', `failed retrieving credentials: ${outcome.detail}`);
      }
      return outcome;
    }
    if (!isStillEntitled(ip, pod, role)) return failed('pod-not-found', 'no pod found');
    return succeeded(wireCredentials(outcome.value));
  };

  return {
    GetPodRole: ({ ip }, context) =>
      withPatience(context, async (signal) => {
        const pod = await podAt(ip, signal, 'pod not found');
        if (!pod.ok) return pod;
        logger.info('found role', { 'pod.iam.role': pod.value.role, 'pod.ip': ip });
        return succeeded({ name: pod.value.role });
      }),
    GetPodCredentials: ({ ip, role }, context) => withPatience(context, (signal) => podCredentials(ip, role, signal)),
    GetHealth: () => Promise.resolve(succeeded({ message: 'ok' })),
  };
}

function wireCredentials(issued: Credentials): WireCredentials {
  const { code, type, accessKeyId, secretAccessKey, token, expiration, lastUpdated } = metadataCredentials(issued);
  return {
    code,
    type,
    access_key_id: accessKeyId,
    secret_access_key: secretAccessKey,
    token,
    expiration,
    last_updated: lastUpdated,
  };
}
