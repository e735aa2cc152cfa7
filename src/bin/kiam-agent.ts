import { main } from './main.ts';

// Each command loads what it needs alone.
await main({
  agent: async (command) => (await import('./agent.ts')).runAgent(command),
  health: async (command) => (await import('./health.ts')).runHealth(command),
  doctor: {
    agent: async (flags) => (await import('./doctor/agent.ts')).runDoctorAgent(flags),
    pod: async (flags) => (await import('./doctor/pod.ts')).runDoctorPod(flags),
  },
});
