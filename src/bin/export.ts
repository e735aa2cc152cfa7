import { exportPlan } from '#export/export.ts';
import { exportJson, exportScript } from '#export/render.ts';
import { createConnection } from '#kubernetes/connection.ts';
import { listReader } from '#kubernetes/namespace-record.ts';
import { readClusterAs } from '#kubernetes/read-cluster.ts';
import { createWorkloadParser } from '#kubernetes/workload-record.ts';
import { systemClock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/within.ts';

import type { ExportFlags } from './flags/export.ts';

/** Prints the plan. Reads from the API server only and changes nothing; exits 1 where it cannot be read. */
export async function runExport({ flags }: { readonly flags: ExportFlags }): Promise<void> {
  const deadline = startDeadline(systemClock, flags.timeoutMs);
  const text = await planned(flags, deadline.signal).catch((error: unknown) => ({
    reason: error instanceof Error ? error.message : String(error),
  }));
  deadline.clear();
  if (typeof text === 'string') process.stdout.write(text);
  else {
    process.stderr.write(`kiam: ${text.reason}\n`);
    process.exitCode = 1;
  }
}

async function planned(flags: ExportFlags, signal: AbortSignal): Promise<string | { readonly reason: string }> {
  const { kubeconfig, binding, roleBaseArn: baseArn, disableStrictNamespaceRegexp, to, undo, json } = flags;
  const connection = createConnection({ kubeconfig, clock: systemClock, environment: process.env });
  const rules = { binding, allowedTags: [] };
  const parseNamespace = listReader(flags.namespacePolicy);
  const reading = await readClusterAs(createWorkloadParser(), connection, rules, signal, parseNamespace);
  connection.close();
  if (!reading.ok) return reading;
  const [, partition = '', , , account = ''] = baseArn.split(':');
  const { clusterName, region, oidcIssuer, intermediateRole } = flags;
  const destination = { to, clusterName, region, account, partition, oidcIssuer, intermediateRole };
  const permitted = { baseArn, strict: !disableStrictNamespaceRegexp, listFormat: flags.namespaceRestrictionFormat };
  const plan = exportPlan({ ...reading.contents, ...permitted }, destination, undo);
  return json ? exportJson(plan) : exportScript(plan);
}
