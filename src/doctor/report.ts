import { oneLine } from '#runtime/text.ts';

import type { Finding } from './finding.ts';

const VERDICT_WIDTH = 'cannot tell'.length + 2;
const CHECK_WIDTH = 15;

/** A finding as text: a line, and below it what to do. Text from elsewhere cannot break out of its line. */
export function findingText(finding: Finding): string {
  const head = `${finding.verdict.padEnd(VERDICT_WIDTH)}${finding.check.padEnd(CHECK_WIDTH)} ${oneLine(finding.says)}`;
  if (finding.verdict === 'ok') return head;
  return `${head}\n${' '.repeat(VERDICT_WIDTH)}fix: ${oneLine(finding.fix)}`;
}

/** The last line. */
export function summaryText(findings: readonly Finding[]): string {
  const { wrong, cannotTell } = countVerdicts(findings);
  if (wrong === 0) return `Nothing is wrong${cannotTell === 0 ? '' : `; ${cannotTell} could not be determined`}.`;
  return `${wrong} ${wrong === 1 ? 'is' : 'are'} wrong${cannotTell === 0 ? '' : `; ${cannotTell} could not be determined`}.`;
}

/** The whole report as one JSON document, for programs. */
export function reportJson(findings: readonly Finding[]): string {
  return JSON.stringify({ ...countVerdicts(findings), findings }, undefined, 2);
}

export function countVerdicts(findings: readonly Finding[]): { readonly wrong: number; readonly cannotTell: number } {
  const count = (verdict: Finding['verdict']): number =>
    findings.filter((finding) => finding.verdict === verdict).length;
  return { wrong: count('wrong'), cannotTell: count('cannot tell') };
}
