import type { PodRecord } from '#domain/pod.ts';

import type { NextCondition } from './next-condition.ts';

/** Why no agent of a Node is heard, as far as a server can tell. */
export function explainSilence(agents: readonly PodRecord[], failsToConnect: boolean): Omit<NextCondition, 'status'> {
  const [agent] = agents;
  if (agent === undefined) return { reason: 'NoAgent', message: 'no pod of an agent is on the node' };
  const name = `${agent.namespace}/${agent.name}`;
  if (failsToConnect) {
    const fix = 'its certificate and its CA must be those of the servers: see its log, or run kiam doctor there';
    return { reason: 'AgentHandshakeFailed', message: `TLS handshakes of the agent ${name} fail; ${fix}` };
  }
  if (agent.phase === 'Running')
    return { reason: 'AgentSilent', message: `the agent ${name} runs and does not report to a server: see its log` };
  return { reason: 'AgentNotRunning', message: `the agent ${name} is ${agent.phase || 'not started'}` };
}
