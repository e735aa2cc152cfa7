import { runAgent } from './agent.ts';
import { runDoctorAgent } from './doctor/agent.ts';
import { runDoctorPod } from './doctor/pod.ts';
import { runHealth } from './health.ts';
import { main } from './main.ts';

await main({ agent: runAgent, health: runHealth, doctor: { agent: runDoctorAgent, pod: runDoctorPod } });
