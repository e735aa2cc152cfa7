import { main } from './main.ts';

// The whole program, for development: each command is imported when it is called.
await main({
  agent: async (command) => (await import('./agent.ts')).runAgent(command),
  server: async (command) => (await import('./server.ts')).runServer(command),
  health: async (command) => (await import('./health.ts')).runHealth(command),
  explain: async (command) => (await import('./explain.ts')).runExplain(command),
  status: async (command) => (await import('./status.ts')).runStatus(command),
  export: async (command) => (await import('./export.ts')).runExport(command),
  whois: async (command) => (await import('./whois.ts')).runWhois(command),
  pki: async (command) => (await import('./pki.ts')).runPki(command),
  policy: async (command) => (await import('./policy.ts')).runPolicy(command),
  kube2iam: async (command) => (await import('./kube2iam.ts')).runKube2iam(command),
  convert: async (command) => (await import('./convert/convert.ts')).runConvert(command),
  doctor: {
    agent: async (flags) => (await import('./doctor/agent.ts')).runDoctorAgent(flags),
    server: async (flags) => (await import('./doctor/server.ts')).runDoctorServer(flags),
    pod: async (flags) => (await import('./doctor/pod.ts')).runDoctorPod(flags),
    cluster: async (flags) => (await import('./doctor/cluster.ts')).runDoctorCluster(flags),
  },
});
