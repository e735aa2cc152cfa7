import type { StsPace } from '#domain/credentials.ts';

import { spoken } from '../explain/explanation.ts';
import type { ReplicaStatus, ServerStatus } from './server-status.ts';

export interface StatusTextOptions {
  /** For a terminal: escape sequences that colour a line. */
  readonly colours: boolean;
  /** Say of failing pods alone. */
  readonly failingOnly: boolean;
}

/** No line is longer, in characters. */
const WIDTH = 100;
/** A screen has so many lines of each list; `--json` has all. */
const MOST_LINES = 20;

type Colour = 'red' | 'yellow' | 'green' | 'none';
const CODES: Readonly<Record<Colour, string>> = {
  red: '\u001b[31m',
  yellow: '\u001b[33m',
  green: '\u001b[32m',
  none: '',
};

interface Line {
  readonly text: string;
  readonly colour: Colour;
}

/** The replicas that were asked, on one screen: what fails is said first. */
export function statusText(replicas: readonly ServerStatus[], { colours, failingOnly }: StatusTextOptions): string {
  const lines = failingOnly
    ? failingLines(replicas)
    : [replicaLines, failingLines, namespaceLines, nodeLines, identityLines].flatMap((part) => part(replicas));
  return lines.map((line) => `${coloured(fit(line.text, WIDTH), line.colour, colours)}\n`).join('');
}

function replicaLines(replicas: readonly ServerStatus[]): Line[] {
  const rows = replicas.map(({ replica, pods }): Row => {
    const { name, version, viewAgeSeconds, streams, certificateDaysLeft: days, sts } = replica;
    const isFine = problemsOf(replica).length === 0 && !sts.paused && (days === null || days >= FEW_DAYS);
    const colour = replica.waitingFor.length > 0 ? 'red' : isFine ? 'green' : 'yellow';
    const certificate = days === null ? '?' : `${days} d`;
    return { cells: [name, version, age(viewAgeSeconds), streams, pods, certificate, pace(sts)].map(String), colour };
  });
  const head = ['REPLICA', 'VERSION', 'VIEW', 'STREAMS', 'PODS', 'CERT', 'STS: CALLS NOW'];
  const problems = replicas.flatMap(({ replica }) =>
    problemsOf(replica).map((problem): Line => ({ text: `  ${replica.name}: ${problem}`, colour: 'red' })),
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

function failingLines(replicas: readonly ServerStatus[]): Line[] {
  const byPod = new Map(replicas.flatMap(({ failing }) => failing.map((pod) => [pod.pod, pod])));
  const shown = [...byPod.values()].slice(0, MOST_LINES);
  const total = byPod.size + Math.max(0, ...replicas.map(({ leftOut }) => leftOut.failing));
  if (total === 0) return [plain(''), { text: 'No pod fails.', colour: 'green' }];
  return [
    plain(''),
    plain(`${total} ${total === 1 ? 'pod fails' : 'pods fail'}: kiam explain NAMESPACE/POD says more`),
    // The reason has a line of its own: it is what people look for, and long.
    ...shown.flatMap(({ pod, node, reason }): Line[] => [
      { text: `REASON  ${reason}`, colour: 'red' },
      plain(`  POD   ${pod}${node === '' ? '' : ` on ${node}`}`),
    ]),
    ...moreLines(total - shown.length),
  ];
}

function moreLines(count: number): Line[] {
  return count > 0 ? [plain(`... and ${count} more: --json has them`)] : [];
}

function plain(text: string): Line {
  return { text, colour: 'none' };
}

function namespaceLines(replicas: readonly ServerStatus[]): Line[] {
  const byName = new Map(replicas.flatMap(({ namespaces }) => namespaces.map((one) => [one.name, one])));
  const rows = [...byName.values()].map(({ name, problem, pods }): Row => {
    return { cells: [problem, name, String(pods)], colour: problem.startsWith('permits') ? 'yellow' : 'red' };
  });
  return rows.length === 0 ? [] : table('Namespaces', ['EXPRESSION', 'NAMESPACE', 'PODS'], [50, 42, 6], rows);
}

function nodeLines(replicas: readonly ServerStatus[]): Line[] {
  const byNode = Map.groupBy(
    replicas.flatMap(({ nodes }) => nodes),
    ({ node }) => node,
  );
  const rows = [...byNode].map(([node, seen]): Row => {
    const streams = seen.reduce((sum, one) => sum + one.streams, 0);
    const failing = Math.max(...seen.map((one) => one.failing));
    const state = streams === 0 ? 'no stream here' : seen.some(({ synced }) => synced) ? 'synced' : 'waiting';
    const cells = [node, streams, Math.max(...seen.map((one) => one.pods)), failing, state];
    return { cells: cells.map(String), colour: failing > 0 ? 'red' : state === 'synced' ? 'green' : 'yellow' };
  });
  const worstFirst = rows.toSorted((left, right) => rank(left) - rank(right));
  return rows.length === 0
    ? []
    : table('Nodes with roles', ['NODE', 'STREAMS', 'PODS', 'FAILING', 'STATE'], [52, 8, 7, 8, 21], worstFirst);
}

function identityLines(replicas: readonly ServerStatus[]): Line[] {
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
  const worstFirst = rows.toSorted((left, right) => rank(left) - rank(right));
  return rows.length === 0
    ? []
    : table(
        'Identities',
        ['ROLE', 'PODS', 'LIFE', 'CALLS', 'LAST ANSWER OF STS'],
        [50, 6, 8, 5, 27],
        worstFirst,
        rows.length + leftOut,
      );
}

interface Row {
  readonly cells: readonly string[];
  readonly colour: Colour;
}

function rank({ colour }: Row): number {
  return ['red', 'yellow', 'none', 'green'].indexOf(colour);
}

function table(
  title: string,
  head: readonly string[],
  widths: readonly number[],
  rows: readonly Row[],
  total = rows.length,
): Line[] {
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, index) => fit(cell, widths[index] ?? 0).padEnd(widths[index] ?? 0))
      .join(' ')
      .trimEnd();
  const shown = rows.slice(0, MOST_LINES);
  return [
    ...(title === '' ? [] : [plain(''), plain(title)]),
    plain(line(head)),
    ...shown.map(({ cells, colour }) => ({ text: line(cells), colour })),
    ...moreLines(total - shown.length),
  ];
}

/** Annotations may hold what a terminal takes for commands. */
function fit(text: string, width: number): string {
  const printable = text.slice(0, 4 * WIDTH).replaceAll(/[^\x20-\x7e]/g, '?');
  return printable.length <= width ? printable : `${printable.slice(0, width - 3)}...`;
}

function age(seconds: number | null): string {
  return seconds === null ? 'unknown' : spoken(seconds * 1000);
}

function coloured(text: string, colour: Colour, isTerminal: boolean): string {
  return isTerminal && CODES[colour] !== '' ? `${CODES[colour]}${text}\u001b[0m` : text;
}
