import { runAgent } from './agent.ts';
import { runHealth } from './health.ts';
import { main } from './main.ts';

await main({ agent: runAgent, health: runHealth });
