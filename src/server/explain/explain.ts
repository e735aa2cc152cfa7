import { asksByToken, ownsItsAddress, type PodRecord } from '#domain/pod.ts';

import type { Explanation, Link } from './explanation.ts';
import type { ExplainFacts } from './facts.ts';
import { agentLink, confirmedLink } from './node-links.ts';
import { addressLink, podLink, viewLink } from './pod-links.ts';
import { policyLink, roleLink, sessionLink, wayLink } from './policy-links.ts';
import { credentialsLink } from './sts-link.ts';

/** Follows the chain from a pod to its credentials in the order in which a server decides. */
export function explain(facts: ExplainFacts): Explanation {
  const links = chainOf(facts);
  return {
    pod: `${facts.namespace}/${facts.name}`,
    isFound: facts.pod !== undefined,
    ...outcomeOf(facts, links),
    links,
    source: facts.source,
  };
}

function chainOf(facts: ExplainFacts): readonly Link[] {
  const { pod, addresses, resolution, identity, running } = facts;
  const links: Link[] = running === undefined ? [] : [viewLink(running)];
  links.push(podLink(facts));
  if (pod === undefined) return links;
  if (ownsItsAddress(pod)) links.push(addressLink(addresses));
  links.push(roleLink(pod, resolution));
  if (pod.role !== '') links.push(wayLink(pod, facts.servesTokens));
  // A role that is no role is refused whatever the namespace says.
  if (pod.role !== '' && resolution?.ok !== false) links.push(policyLink(facts));
  if (identity !== undefined) links.push(sessionLink(identity, pod));
  if (running === undefined || !isServed(facts, pod)) return links;
  if (running.credentials !== undefined && identity !== undefined) {
    if (ownsItsAddress(pod)) links.push(confirmedLink(running));
    links.push(credentialsLink(running.credentials, running.streams.length > 0));
  }
  links.push(agentLink(pod, running, identity));
  return links;
}

function isServed({ servesTokens }: ExplainFacts, pod: PodRecord): boolean {
  return ownsItsAddress(pod) || (servesTokens === true && asksByToken(pod));
}

function outcomeOf(
  { identity, running }: ExplainFacts,
  links: readonly Link[],
): Pick<Explanation, 'outcome' | 'because'> {
  const broken = links.find(({ verdict }) => verdict === 'no');
  if (broken !== undefined) return { outcome: 'gets nothing', because: broken.text };
  const open = links.find(({ verdict }) => verdict === 'unknown');
  if (open !== undefined) return { outcome: 'cannot be told', because: open.text };
  const because = identity?.roleArn ?? '';
  return running === undefined
    ? { outcome: 'is permitted its role', because }
    : { outcome: 'gets credentials', because };
}
