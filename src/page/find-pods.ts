import { nodeTextOf } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';
import { shortened } from '#runtime/text.ts';
import type { AwaitTurn } from '#runtime/turn-budget.ts';
import type { PodView } from '#server/ports.ts';
import { judgePod, type JudgeOptions } from '#server/status/judge-pod.ts';

import type { FoundPod, PodsAnswer } from './wire.ts';

export interface MatchingPodsOptions extends JudgeOptions {
  readonly pods: Pick<PodView, 'pods' | 'find'>;
  readonly awaitTurn: AwaitTurn;
}

export interface Wanted {
  /** A part of the pod's name, its namespace, its role or its node, in any case; `''` for all. */
  readonly search: string;
  readonly node: string;
  readonly roleArn: string;
}

const MOST_PODS = 100;
const LONGEST_ROLE = 200;
const WORST_FIRST = ['failing', 'waiting', 'fine'];

/** Pods that have a role and match, failing ones first. */
export async function findMatchingPods(options: MatchingPodsOptions, wanted: Wanted): Promise<PodsAnswer> {
  const search = wanted.search.toLowerCase();
  let found = 0;
  const worst: FoundPod[] = [];
  for (const pod of Array.from(options.pods.pods())) {
    await options.awaitTurn();
    if (pod.role === '' || pod.phase === 'Succeeded' || pod.phase === 'Failed') continue;
    const node = nodeTextOf(pod);
    if (wanted.node !== '' && node !== wanted.node) continue;
    if (search !== '' && !textOf(pod, node).includes(search)) continue;
    const { identity, state } = judgePod(options, pod);
    if (wanted.roleArn !== '' && identity?.roleArn !== wanted.roleArn) continue;
    found += 1;
    worst.push({ pod: `${pod.namespace}/${pod.name}`, node, role: shortened(pod.role, LONGEST_ROLE), state });
    if (worst.length >= 2 * MOST_PODS) keepWorstPods(worst);
  }
  keepWorstPods(worst);
  return { found, pods: worst };
}

function textOf({ namespace, name, role }: PodRecord, node: string): string {
  return `${namespace}/${name} ${role} ${node}`.toLowerCase();
}

function keepWorstPods(pods: FoundPod[]): void {
  const rank = ({ state }: FoundPod): number => WORST_FIRST.indexOf(state);
  pods.sort((left, right) => rank(left) - rank(right) || (left.pod < right.pod ? -1 : 1));
  pods.splice(MOST_PODS);
}
