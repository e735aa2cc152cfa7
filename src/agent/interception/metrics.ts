import { Counter, Gauge, type Registry } from 'prom-client';

import type { RuleName } from './desired-rules.ts';

/** What the interception reports. */
export interface InterceptionMetrics {
  /** A rule that had been in place was gone, doubled, behind another or replaced, and was put back. */
  restored(rule: RuleName): void;
  /** A round in which a rule could not be read or put in place. */
  failed(rule: RuleName): void;
  /** Whether a rule was in place, in every family that it is needed for, when last looked at. */
  present(rule: RuleName, present: boolean): void;
}

export function createInterceptionMetrics(registry: Registry): InterceptionMetrics {
  const labelNames = ['rule'] as const;
  const restored = new Counter({
    name: 'kiam_agent_interception_restored_total',
    help: 'Number of times an iptables rule that had been in place was found missing or displaced and was put back',
    labelNames,
    registers: [registry],
  });
  const failures = new Counter({
    name: 'kiam_agent_interception_failures_total',
    help: 'Number of checks in which an iptables rule could not be read or put in place',
    labelNames,
    registers: [registry],
  });
  const present = new Gauge({
    name: 'kiam_agent_interception_present',
    help: 'Whether an iptables rule was in place when last checked (1) or not (0)',
    labelNames,
    registers: [registry],
  });
  // Those of container credentials appear where they are kept.
  for (const rule of ['redirect', 'guard', 'backstop'] as const) {
    restored.inc({ rule }, 0);
    failures.inc({ rule }, 0);
    present.set({ rule }, 0);
  }
  return {
    restored: (rule) => restored.inc({ rule }),
    failed: (rule) => failures.inc({ rule }),
    present: (rule, isPresent) => present.set({ rule }, isPresent ? 1 : 0),
  };
}
