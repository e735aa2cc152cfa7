import { runHealth } from './health.ts';
import { main } from './main.ts';
import { runServer } from './server.ts';

await main({ server: runServer, health: runHealth });
