import { createConnection, type KubernetesConnection } from '#kubernetes/connection.ts';
import { listReader } from '#kubernetes/namespace-record.ts';
import { readSurroundings } from '#kubernetes/pod-surroundings.ts';
import { systemClock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import { collectFacts, type CollectOptions } from '#server/explain/collect.ts';
import { explain } from '#server/explain/explain.ts';
import type { Explanation } from '#server/explain/explanation.ts';
import { decideWithoutServer, resolveWithoutServer } from '#server/explain/without-server.ts';
import { createLogger } from '#telemetry/logger.ts';

import type { ExplainFlags } from './flags/explain.ts';
import { sessionRules } from './flags/sessions.ts';

/** The explanation of a pod from the API server alone, or the reason why there is none. */
export async function explainWithoutServer(flags: ExplainFlags, signal: AbortSignal): Promise<Explanation | string> {
  const { namespace, name } = flags.pod;
  const ofServers = {
    baseArn: flags.roleBaseArn,
    strict: !flags.disableStrictNamespaceRegexp,
    listFormat: flags.namespaceRestrictionFormat,
  };
  const connection = openConnection(flags.kubeconfig);
  if (typeof connection === 'string') return connection;
  const logger = createLogger({ json: false, level: 'error' });
  const rules = { binding: flags.binding, allowedTags: flags.allowedSessionTags };
  const parseNamespace = listReader(flags.namespacePolicy);
  const read = await readSurroundings({ connection, namespace, name, rules, parseNamespace, logger, signal });
  connection.close();
  if (!read.ok) return read.reason;
  const { pods, namespaces, knownAddresses } = read.value;
  const facts: CollectOptions = {
    source: `as ${connection.server} says; what STS answers and what agents hold, only a running server knows`,
    pods,
    knowsAddress: (address) => knownAddresses.has(address),
    nodeOf: ({ nodeName }) => ({ by: 'name', name: nodeName }),
    namespaces,
    servesTokens: undefined,
    resolve: (role) => resolveWithoutServer(role, ofServers),
    decide: (pod) => decideWithoutServer(pod, namespaces, ofServers),
    sessions: sessionRules(flags),
    running: undefined,
  };
  return explain(collectFacts(facts, namespace, name));
}

/** A string says why the kubeconfig cannot be used. */
function openConnection(kubeconfig: string): KubernetesConnection | string {
  try {
    return createConnection({ kubeconfig, clock: systemClock, environment: process.env });
  } catch (error) {
    return `${kubeconfig}: ${describeError(error)}`;
  }
}
