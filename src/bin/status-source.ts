import { hostname } from 'node:os';

import type { StsPace } from '#domain/credentials.ts';
import { systemClock } from '#runtime/clock.ts';
import { createTimeBudget } from '#runtime/turn-budget.ts';
import { collectStatus, type StatusOptions } from '#server/status/collect.ts';
import type { ReplicaStatus, ServerStatus } from '#server/status/server-status.ts';

import { collectWhois, type WhoisAnswer, type WhoisOptions } from '#server/whois/collect.ts';

import { kiamVersion } from './version.ts';

export interface StatusSource extends Omit<StatusOptions, 'replica' | 'awaitTurn'> {
  readonly view: () => { readonly viewAgeMs: number; readonly viewProblem: string | undefined };
  readonly problems: () => readonly string[];
  readonly streams: () => number;
  readonly credentials: StatusOptions['credentials'] & { readonly pace: StsPace };
  /** When the TLS certificate in use ends, in milliseconds since 1970. */
  readonly certificateEndMs: () => number | undefined;
}

/** Work done in one turn of the event loop. */
const TURN_MS = 5;
const DAY_MS = 86_400_000;

/** Answers `kiam whois` from the memory of this replica; other replicas have their own. */
export function createWhois(
  source: Omit<WhoisOptions, 'server' | 'awaitTurn'>,
): (accessKeyId: string) => Promise<WhoisAnswer> {
  const server = `${hostname()} (process ${process.pid})`;
  return (accessKeyId) =>
    collectWhois({ ...source, server, awaitTurn: createTimeBudget(systemClock, TURN_MS) }, accessKeyId);
}

/** Answers `kiam status` from the memory of this replica; other replicas have their own. */
export function createStatus(source: StatusSource): (namespace: string) => Promise<ServerStatus> {
  const { view, problems, streams, credentials, certificateEndMs, nowMs } = source;
  const replica = (): ReplicaStatus => {
    const { viewAgeMs, viewProblem } = view();
    const endMs = certificateEndMs();
    return {
      name: hostname(),
      process: process.pid,
      version: kiamVersion(),
      waitingFor: problems(),
      viewAgeSeconds: Number.isFinite(viewAgeMs) ? Math.round(viewAgeMs / 100) / 10 : null,
      viewProblem: viewProblem ?? null,
      streams: streams(),
      certificateDaysLeft: endMs === undefined ? null : Math.floor((endMs - nowMs()) / DAY_MS),
      sts: credentials.pace,
    };
  };
  return (namespace) =>
    collectStatus({ ...source, replica, awaitTurn: createTimeBudget(systemClock, TURN_MS) }, namespace);
}
