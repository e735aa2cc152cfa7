import { main } from './main.ts';

// Each command is imported when it is called: commands other than the server run beside it, within its container's memory
// limit.
await main({
  server: async (command) => (await import('./server.ts')).runServer(command),
  health: async (command) => (await import('./health.ts')).runHealth(command),
  explain: async (command) => (await import('./explain.ts')).runExplain(command),
  status: async (command) => (await import('./status.ts')).runStatus(command),
  export: async (command) => (await import('./export.ts')).runExport(command),
  whois: async (command) => (await import('./whois.ts')).runWhois(command),
  pki: async (command) => (await import('./pki.ts')).runPki(command),
  policy: async (command) => (await import('./policy.ts')).runPolicy(command),
  convert: async (command) => (await import('./convert/convert.ts')).runConvert(command),
  doctor: {
    server: async (flags) => (await import('./doctor/server.ts')).runDoctorServer(flags),
    cluster: async (flags) => (await import('./doctor/cluster.ts')).runDoctorCluster(flags),
    pod: async (flags) => (await import('./doctor/pod.ts')).runDoctorPod(flags),
  },
});
