import { runAgent } from './agent.ts';
import { runHealth } from './health.ts';
import { main } from './main.ts';

// The doctor is loaded only when it is asked for. The agent is not loaded that way: a bundle keeps what it imports later in
// variables that V8 cannot treat as constants, and a warm request took a quarter more CPU time.
await main({
  agent: runAgent,
  health: runHealth,
  doctor: {
    agent: async (flags) => (await import('./doctor/agent.ts')).runDoctorAgent(flags),
    pod: async (flags) => (await import('./doctor/pod.ts')).runDoctorPod(flags),
  },
});
