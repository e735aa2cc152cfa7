import { nodeTextOf } from '#domain/node.ts';
import { asksByToken, MIRROR_ANNOTATION, ownsItsAddress, type PodRecord } from '#domain/pod.ts';

import { inSeconds, type Link, spoken } from './explanation.ts';
import type { AddressFacts, ExplainFacts, RunningFacts } from './facts.ts';

/** How well the server sees the cluster. */
export function viewLink({ viewAgeMs, viewProblem }: RunningFacts): Link {
  const age = `the server's view of pods and namespaces is ${spoken(viewAgeMs)} old at most`;
  return {
    link: 'view',
    verdict: viewProblem === undefined ? 'ok' : 'note',
    text: viewProblem === undefined ? age : `${age}; ${viewProblem}`,
    facts: { ageSeconds: inSeconds(viewAgeMs), problem: viewProblem ?? null },
  };
}

/** Whether there is such a pod, and whether it is one that can be served. */
export function podLink({ pod, running, servesTokens }: ExplainFacts): Link {
  if (pod === undefined) {
    const who = running === undefined ? 'the API server' : 'this server';
    return { link: 'pod', verdict: 'no', text: `${who} knows no such pod`, facts: { found: false } };
  }
  const { uid, phase, hostNetwork, mirror, terminating } = pod;
  return {
    link: 'pod',
    verdict: verdictOf(pod, servesTokens),
    text: stateOf(pod, servesTokens),
    facts: { found: true, uid, phase, hostNetwork, mirror, terminating, node: nodeTextOf(pod) },
  };
}

function verdictOf(pod: PodRecord, servesTokens: boolean | undefined): Link['verdict'] {
  if (ownsItsAddress(pod)) return 'ok';
  if (!asksByToken(pod) || servesTokens === false) return 'no';
  return servesTokens === undefined ? 'unknown' : 'ok';
}

function stateOf(pod: PodRecord, servesTokens: boolean | undefined): string {
  const { phase, hostNetwork, mirror, terminating } = pod;
  if (phase === 'Succeeded' || phase === 'Failed') return `it has ended (${phase})`;
  if (mirror) return `it is a mirror pod (${MIRROR_ANNOTATION}): any kubelet can make one, so none is served`;
  const node = nodeTextOf(pod);
  if (hostNetwork) {
    const text = 'it has hostNetwork: it shares the address of its node, and is served by its token alone';
    return servesTokens === true ? `${text}, on the node ${node}` : `${text}, with --container-credentials`;
  }
  const where = node === '' ? 'on no node yet' : `on the node ${node}`;
  const end = terminating ? '; it is being deleted, and served until it is gone' : '';
  return `${phase} ${where}${end}`;
}

/** Whether requests from the pod's addresses count as the pod's. */
export function addressLink(addresses: readonly AddressFacts[]): Link {
  const own = addresses.filter(({ isOwn }) => isOwn === true);
  const lost = addresses.filter(({ isOwn }) => isOwn === false);
  const nothing = own.length === 0 && (lost.length > 0 || addresses.length === 0);
  return {
    link: 'address',
    verdict: own.length > 0 ? 'ok' : nothing ? 'no' : 'unknown',
    text: addresses.length === 0 ? 'it has no address yet' : addresses.map(inWords).join('; '),
    facts: {
      addresses: addresses.map(({ address }) => address),
      own: own.map(({ address }) => address),
      claimedBy: [...new Set(addresses.flatMap(({ others }) => others))],
    },
  };
}

function inWords({ address, isOwn, others }: AddressFacts): string {
  if (isOwn === undefined) return `${address}: it is not known whether another pod claims it as well`;
  if (others.length === 0) return address;
  const claim = `${address} is claimed by ${others.join(', ')} as well`;
  return isOwn
    ? `${claim}: the agent of this pod's node is answered for this pod`
    : `${claim}: multiple running pods found`;
}
