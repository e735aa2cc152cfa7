import { canonicalAddress } from '#domain/address.ts';
import type { SessionRules } from '#domain/attribution.ts';
import { metadataCredentials } from '#domain/credentials.ts';
import { failed, type Outcome, refused, succeeded } from '#domain/failure.ts';
import { type Identity, identityKey, identityOf } from '#domain/identity.ts';
import type { NodeId } from '#domain/node.ts';
import { cleanDetails } from '#domain/node-details.ts';
import { cleanReport } from '#domain/node-readiness.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { Decision } from '#domain/policy.ts';
import {
  ADDRESS_CHECKS,
  type AddressCheck,
  nodeDetailsOf,
  type Role,
  type WireCredentials,
  wireCredentials,
} from '#rpc/contract.ts';
import type { CallContext, ServiceHandlers } from '#rpc/server.ts';
import type { Clock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/within.ts';
import { denialFields, podFields } from '#telemetry/fields.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerInterval } from '#telemetry/once.ts';

import type { AgentScope } from './agent-scope.ts';
import type { Confirmation } from './confirmation.ts';
import type { NodeReports } from './node-reports.ts';
import type { CredentialCache, PodView, PodWarnings } from './ports.ts';

export interface ServiceOptions {
  readonly pods: PodView;
  readonly policy: { decide(pod: PodRecord, requestedRole: string): Decision };
  readonly credentials: Pick<CredentialCache, 'get'>;
  readonly confirmation: Pick<Confirmation, 'confirm'>;
  readonly scope: Pick<AgentScope, 'of'>;
  readonly reports: Pick<NodeReports, 'take'>;
  readonly events: PodWarnings;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly sessions: SessionRules;
  /** How long a caller may wait here for a pod to become known, in milliseconds; 900 unless told. */
  readonly longestWaitMs?: number;
  /** Told of each pod that an agent asks for, and whether that agent has a stream, here or at another replica. */
  readonly noteAsked?: (pod: PodRecord, isWatching: boolean) => void;
}

/** The longest that a caller waits here for a pod to become known; Kiam's agents then ask again. */
const LONGEST_WAIT_MS = 900;

/**
 * For how long an agent may repeat what policy refuses without asking. It is told at once of a pod or a namespace that changes,
 * by its stream; that may be one to another replica, which may hear of the change a little sooner or later than this one.
 */
const REFUSAL_STANDS_MS = 3000;

/** What is kept of the caller's time for the answer to reach it. */
const ANSWER_MARGIN_MS = 50;

/** A pod may ask 100 times a second for what STS refuses: the same failure of a pod is one line in this time. */
const FAILURE_LINE_INTERVAL_MS = 10_000;

/** Failures of pods whose line is remembered. */
const MOST_FAILURE_LINES = 4096;

/** Who is asked for, on whose behalf, and how sure the answer has to be. */
interface Question {
  readonly address: string;
  /** The node that the agent is held to; undefined when it is held to none. */
  readonly node: NodeId | undefined;
  readonly check: AddressCheck;
  /** Whether the agent has a stream, to this replica or another. */
  readonly isWatching: boolean;
  readonly signal: AbortSignal;
}

/** Answers the contract: who is the pod, may it have the role, and here are its credentials. */
export function createService(options: ServiceOptions): ServiceHandlers {
  const { pods, policy, credentials, confirmation, scope, events, logger, sessions, clock, noteAsked, reports } =
    options;
  const { longestWaitMs = LONGEST_WAIT_MS } = options;
  const isLineDue = oncePerInterval({ clock, intervalMs: FAILURE_LINE_INTERVAL_MS, most: MOST_FAILURE_LINES });

  /** Runs `answer` with what is left of the caller's time, less what the answer needs to reach it. */
  const respond = async <T>(
    { ip, confirm, watching = false }: { readonly ip: string; readonly confirm?: number; readonly watching?: boolean },
    context: CallContext,
    notFound: string,
    answer: (question: Question) => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> => {
    const patienceMs = Math.max(0, Math.min(longestWaitMs, context.remainingMs - ANSWER_MARGIN_MS));
    const deadline = startDeadline(clock, patienceMs, context.signal);
    try {
      const agent = await scope.of(context, deadline.signal);
      if (agent.kind === 'refused') return failed('forbidden', 'forbidden by policy');
      if (agent.kind === 'unknown') return failed('view-stale', 'it is not certain who the agent is');
      const address = canonicalAddress(ip);
      if (address === undefined) return failed('pod-not-found', notFound);
      const node = agent.kind === 'node' ? agent.node : undefined;
      const outcome = await answer({
        address,
        node,
        check: checkOf(confirm),
        isWatching: watching,
        signal: deadline.signal,
      });
      if (outcome.ok || outcome.failure.kind !== 'pod-not-found') return outcome;
      logger.error('error finding pod: pod not found', { 'pod.ip': ip });
      return failed('pod-not-found', notFound);
    } finally {
      deadline.clear();
    }
  };

  /** The pod with the address; waits for one if there is none yet. A pod of another node counts as none, after the same wait. */
  const podAt = async ({ address, node, isWatching, signal }: Question): Promise<Outcome<PodRecord>> => {
    const lookup = await pods.waitFor(address, signal, { node });
    if (lookup.kind === 'ambiguous') {
      logger.error('error finding pod: multiple running pods found', { 'pod.ip': address });
      return failed('multiple-pods', 'multiple running pods found');
    }
    if (lookup.kind !== 'found') return NOT_FOUND;
    noteAsked?.(lookup.pod, isWatching);
    return succeeded(lookup.pod);
  };

  /**
   * Confirms what the watch says: how long ago it was certain. When the API server says otherwise, the watch is late: it is
   * waited for.
   */
  const confirmed = async (pod: PodRecord, { address, node, check, signal }: Question): Promise<Outcome<number>> => {
    const verdict = await confirmation.confirm(pod, check, signal);
    if (verdict.kind === 'holds') return succeeded(verdict.ageMs);
    if (verdict.kind === 'late') return failed('timed-out', 'the API server did not answer in time');
    if (verdict.kind === 'unsure') return failed('view-stale', 'it is not certain who has the address');
    logger.info('an address has passed to another pod before the watch reported it', {
      ...podFields(pod),
      'pod.ip': address,
    });
    await untilAddressMoves(pods, { address, node, uid: pod.uid }, signal);
    return NOT_FOUND;
  };

  const refuse = (pod: PodRecord, requestedRole: string, explanation: string): Outcome<never> => {
    logger.error('pod denied by policy', { ...podFields(pod), ...denialFields(requestedRole, explanation) });
    events.warning(pod, 'KiamRoleForbidden', `failed assuming role "${requestedRole}": ${explanation}`);
    return refused('forbidden', 'forbidden by policy', REFUSAL_STANDS_MS);
  };

  /** `detail` is STS's text, without an external id. */
  const tellFailure = (pod: PodRecord, requestedRole: string, detail: string): void => {
    if (isLineDue(JSON.stringify([pod.uid, requestedRole, detail]))) {
      logger.error(`error retrieving credentials: ${detail}`, {
        ...podFields(pod),
        'pod.iam.requestedRole': requestedRole,
      });
    }
    events.warning(pod, 'KiamCredentialError', `failed retrieving credentials: ${detail}`);
  };

  /** Whether what was found for a pod may still go to the address: it may have changed hands, or its annotations. */
  const isStillEntitled = (
    pod: PodRecord,
    requestedRole: string,
    identity: Identity,
    { address, node }: Question,
  ): boolean => {
    const lookup = pods.find(address, { node });
    if (lookup.kind !== 'found' || lookup.pod.uid !== pod.uid) return false;
    const decision = policy.decide(lookup.pod, requestedRole);
    // The same record, as a rule: nothing of it has changed.
    return (
      decision.allowed &&
      (lookup.pod === pod || identityKey(identityOf(lookup.pod, decision.roleArn, sessions)) === identityKey(identity))
    );
  };

  const podCredentials = async (role: string, question: Question): Promise<Outcome<WireCredentials>> => {
    const found = await podAt(question);
    if (!found.ok) return found;
    const pod = found.value;
    if (pod.role === '') return refused('role-empty', "role can't be empty", REFUSAL_STANDS_MS);
    const decision = policy.decide(pod, role);
    if (!decision.allowed) return refuse(pod, role, decision.explanation);
    const identity = identityOf(pod, decision.roleArn, sessions);
    // The API server is asked while STS is: neither waits for the other.
    const [certainty, issued] = await Promise.all([
      confirmed(pod, question),
      credentials.get(identity, 'request', question.signal),
    ]);
    if (!certainty.ok) return certainty;
    if (!issued.ok) {
      // While STS is still being asked nothing has failed: the agent asks again, for as long as the pod can wait.
      if (issued.failure.kind === 'timed-out') return issued;
      tellFailure(pod, role, issued.detail);
      return issued;
    }
    if (!isStillEntitled(pod, role, identity, question)) return NOT_FOUND;
    const holder = { uid: pod.uid, roleArn: decision.roleArn, viewAgeMs: certainty.value };
    return succeeded(wireCredentials(metadataCredentials(issued.value), holder));
  };

  const podRole = async (question: Question): Promise<Outcome<Role>> => {
    const found = await podAt(question);
    if (!found.ok) return found;
    const certainty = await confirmed(found.value, question);
    if (!certainty.ok) return certainty;
    // As it is now: the address may have changed hands meanwhile, or the annotation.
    const lookup = pods.find(question.address, { node: question.node });
    if (lookup.kind !== 'found' || lookup.pod.uid !== found.value.uid) return NOT_FOUND;
    const { uid, role } = lookup.pod;
    const decision = role === '' ? undefined : policy.decide(lookup.pod, role);
    logger.info('found role', { 'pod.iam.role': role, 'pod.ip': question.address });
    return succeeded({
      name: role,
      uid,
      role_arn: decision?.allowed === true ? decision.roleArn : '',
      view_age_ms: Math.ceil(certainty.value),
    });
  };

  return {
    GetPodRole: (request, context) => respond(request, context, 'pod not found', podRole),
    GetPodCredentials: (request, context) =>
      respond(request, context, 'no pod found', (question) => podCredentials(request.role, question)),
    GetHealth: () => Promise.resolve(succeeded({ message: 'ok' })),
    ReportNode: async (report, context) => {
      const agent = await scope.of(context, context.signal);
      if (agent.kind === 'unknown') return failed('view-stale', 'it is not certain who the agent is');
      const details = nodeDetailsOf(report);
      const isTaken =
        agent.kind === 'node' &&
        reports.take(agent.node, context.peer, cleanReport(report), details && cleanDetails(details));
      if (isTaken) return succeeded({});
      return failed('forbidden', 'the agent has no stream of a node here');
    },
  };
}

/** What it is called depends on the method: `respond` names it. */
const NOT_FOUND = failed('pod-not-found', 'no pod found');

/** Kiam's agents send no number; an unknown number asks for the most. */
function checkOf(number: number | undefined): AddressCheck {
  if (number === undefined || number === ADDRESS_CHECKS['read-unless-recent']) return 'read-unless-recent';
  if (number === ADDRESS_CHECKS['kernel-bound']) return 'kernel-bound';
  return number === ADDRESS_CHECKS.read ? 'read' : 'read-or-refuse';
}

/** Resolves when another pod than this one, or none, has the address, or when `signal` aborts. */
function untilAddressMoves(
  pods: Pick<PodView, 'find' | 'subscribe'>,
  { address, node, uid }: { readonly address: string; readonly node: NodeId | undefined; readonly uid: string },
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      const lookup = pods.find(address, { node });
      if (lookup.kind === 'found' && lookup.pod.uid === uid && !signal.aborted) return;
      end();
      signal.removeEventListener('abort', look);
      resolve();
    };
    const end = pods.subscribe(look);
    signal.addEventListener('abort', look, { once: true });
    look();
  });
}
