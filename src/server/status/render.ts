import type { StsPace } from '#domain/credentials.ts';

import { spoken } from '../explain/explanation.ts';
import {
  coloured,
  fit,
  type ScreenLine,
  MOST_LINES,
  moreLines,
  plain,
  type Row,
  table,
  WIDTH,
  worstFirst,
} from './lines.ts';
import { nodeLines } from './render-nodes.ts';
import type { ReplicaStatus, ServerStatus } from './server-status.ts';

export interface StatusTextOptions {
  /** For a terminal: escape sequences that colour a line. */
  readonly colours: boolean;
  /** Say of failing pods alone. */
  readonly failingOnly: boolean;
}

/** The replicas that were asked, on one screen: what fails is said first. */
export function statusText(replicas: readonly ServerStatus[], { colours, failingOnly }: StatusTextOptions): string {
  const lines = failingOnly
    ? failingLines(replicas)
    : [replicaLines, failingLines, namespaceLines, nodeLines, identityLines].flatMap((part) => part(replicas));
  return lines.map((line) => `${coloured(fit(line.text, WIDTH), line.colour, colours)}\n`).join('');
}

function replicaLines(replicas: readonly ServerStatus[]): ScreenLine[] {
  const rows = replicas.map(({ replica, pods }): Row => {
    const { name, version, viewAgeSeconds, streams, certificateDaysLeft: days, sts } = replica;
    const isFine = problemsOf(replica).length === 0 && !sts.paused && (days === null || days >= FEW_DAYS);
    const colour = replica.waitingFor.length > 0 ? 'red' : isFine ? 'green' : 'yellow';
    const certificate = days === null ? '?' : `${days} d`;
    return { cells: [name, version, age(viewAgeSeconds), streams, pods, certificate, pace(sts)].map(String), colour };
  });
  const head = ['REPLICA', 'VERSION', 'VIEW', 'STREAMS', 'PODS', 'CERT', 'STS: CALLS NOW'];
  const problems = replicas.flatMap(({ replica }) =>
    problemsOf(replica).map((problem): ScreenLine => ({ text: `  ${replica.name}: ${problem}`, colour: 'red' })),
  );
  return [...table('', head, [34, 10, 8, 7, 6, 7, 22], rows), ...problems];
}

/** A certificate with less left should have been renewed. */
const FEW_DAYS = 14;

function problemsOf({ waitingFor, viewProblem }: ReplicaStatus): readonly string[] {
  return viewProblem === null ? waitingFor : [...waitingFor, viewProblem];
}

function pace({ inFlight, limit, waiting, paused, callsPerSecond }: StsPace): string {
  if (paused) return `paused, ${waiting} wait`;
  if (callsPerSecond === null && waiting === 0) return `${inFlight} of ${limit}`;
  const rate = callsPerSecond === null ? `${inFlight} of ${limit}` : `${Number(callsPerSecond.toPrecision(2))}/s`;
  return `${rate}, ${waiting} wait`;
}

function failingLines(replicas: readonly ServerStatus[]): ScreenLine[] {
  const byPod = new Map(replicas.flatMap(({ failing }) => failing.map((pod) => [pod.pod, pod])));
  const shown = [...byPod.values()].slice(0, MOST_LINES);
  const total = byPod.size + Math.max(0, ...replicas.map(({ leftOut }) => leftOut.failing));
  if (total === 0) return [plain(''), { text: 'No pod fails.', colour: 'green' }];
  return [
    plain(''),
    plain(`${total} ${total === 1 ? 'pod fails' : 'pods fail'}: kiam explain NAMESPACE/POD says more`),
    // The reason has a line of its own: it is what people look for, and long.
    ...shown.flatMap(({ pod, node, reason }): ScreenLine[] => [
      { text: `REASON  ${reason}`, colour: 'red' },
      plain(`  POD   ${pod}${node === '' ? '' : ` on ${node}`}`),
    ]),
    ...moreLines(total - shown.length),
  ];
}

function namespaceLines(replicas: readonly ServerStatus[]): ScreenLine[] {
  const byName = new Map(replicas.flatMap(({ namespaces }) => namespaces.map((one) => [one.name, one])));
  const rows = [...byName.values()].map(({ name, problem, pods }): Row => {
    return { cells: [problem, name, String(pods)], colour: problem.startsWith('permits') ? 'yellow' : 'red' };
  });
  return rows.length === 0 ? [] : table('Namespaces', ['EXPRESSION', 'NAMESPACE', 'PODS'], [50, 42, 6], rows);
}

function identityLines(replicas: readonly ServerStatus[]): ScreenLine[] {
  const byKey = Map.groupBy(
    replicas.flatMap(({ identities }) => identities),
    ({ roleArn, sessionName, attribution, namespaces }) =>
      JSON.stringify([roleArn, sessionName, attribution, namespaces]),
  );
  const rows = [...byKey.values()].flatMap((seen): Row[] => {
    const best = seen.toSorted((a, b) => (b.remainingSeconds ?? -1) - (a.remainingSeconds ?? -1))[0];
    if (best === undefined) return [];
    const { roleArn, pods, remainingSeconds, lastAnswer, failures } = best;
    const calls = seen.reduce((sum, one) => sum + one.calls, 0);
    const life = remainingSeconds === null ? '-' : spoken(remainingSeconds * 1000);
    const colour = failures > 0 ? (remainingSeconds === null ? 'red' : 'yellow') : 'none';
    return [{ cells: [roleArn, String(pods), life, String(calls), lastAnswer], colour }];
  });
  const leftOut = Math.max(0, ...replicas.map((status) => status.leftOut.identities));
  return rows.length === 0
    ? []
    : table(
        'Identities',
        ['ROLE', 'PODS', 'LIFE', 'CALLS', 'LAST ANSWER OF STS'],
        [50, 6, 8, 5, 27],
        worstFirst(rows),
        rows.length + leftOut,
      );
}

function age(seconds: number | null): string {
  return seconds === null ? 'unknown' : spoken(seconds * 1000);
}
