import { runExplain } from './explain.ts';
import { runHealth } from './health.ts';
import { main } from './main.ts';
import { runServer } from './server.ts';

await main({
  server: runServer,
  health: runHealth,
  explain: runExplain,
  // Loaded when it is asked for: X.509 is nothing that the daemon should carry in its memory.
  pki: async (command) => (await import('./pki.ts')).runPki(command),
});
