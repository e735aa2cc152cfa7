import { type Check, runChecks } from '#doctor/check.ts';
import type { Finding } from '#doctor/finding.ts';
import { countVerdicts, findingText, reportJson, summaryText } from '#doctor/report.ts';
import { systemClock } from '#runtime/clock.ts';

/** Runs the checks, prints what they find, and exits: 1 when anything is wrong, 0 otherwise. */
export async function report(checks: readonly Check[], { json }: { readonly json: boolean }): Promise<never> {
  // A timer of the clock never keeps the process alive; this does, until it exits.
  setInterval(() => {}, 0x7fffffff);
  const findings: Finding[] = [];
  for await (const finding of runChecks(checks, systemClock)) {
    findings.push(finding);
    if (!json) process.stdout.write(`${findingText(finding)}\n`);
  }
  process.stdout.write(`${json ? reportJson(findings) : summaryText(findings)}\n`);
  process.exit(countVerdicts(findings).wrong > 0 ? 1 : 0);
}
