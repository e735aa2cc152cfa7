import type { Rule } from './rules.ts';
import type { WantedRules } from './wanted.ts';

/** What was found wrong with a chain. */
export type RuleProblem =
  /** A rule is not there. */
  | 'missing'
  /** A rule is there more than once. */
  | 'duplicated'
  /** A rule of an older version, of Kiam or of another agent stands there with another address, port or interface. */
  | 'foreign'
  /** Another rule before ours may decide about the same packets. */
  | 'shadowed'
  /** Ours stand in the wrong order. */
  | 'disordered';

export interface Plan {
  /** Nothing: all is as it should be. */
  readonly findings: readonly RuleProblem[];
  /** Whether the wanted rules take effect as things are, whatever else there is to tidy up. */
  readonly inForce: boolean;
  /** One of the rules that are foreign or in the way, for the log. */
  readonly culprit: string | undefined;
  /** Lines for `iptables-restore --noflush`, which does all of them or none. */
  readonly lines: readonly string[];
}

/**
 * What must be done so that a chain holds the wanted rules, each once and before all that is in their way. Idempotent:
 * once the lines are carried out, the next plan is empty. Rules that are neither recognised nor wanted are never touched:
 * what is in the way stays, behind ours.
 */
export function plan(current: readonly Rule[], wanted: WantedRules): Plan {
  const rules = current.filter((rule) => rule.chain === wanted.chain);
  const recognised = rules.filter((rule) => wanted.isRecognised(rule));
  const foreign = recognised.find((rule) => !isWanted(rule, wanted));
  const places = wanted.specifications.map((specification) => placesOf(rules, specification, wanted));
  const firsts = places.map((found) => found[0] ?? Number.POSITIVE_INFINITY);
  const isMissing = places.some((found) => found.length === 0);
  const isOrdered = firsts.every((place, index) => place > (firsts[index - 1] ?? -1));
  const before = isMissing ? [] : rules.slice(0, Math.max(...firsts));
  const inTheWay = before.filter((rule) => !isWanted(rule, wanted) && wanted.isInTheWay(rule));
  const shadow = inTheWay.find((rule) => !wanted.isRecognised(rule));
  const findings: RuleProblem[] = [];
  if (isMissing) findings.push('missing');
  if (places.some((found) => found.length > 1)) findings.push('duplicated');
  if (foreign !== undefined) findings.push('foreign');
  if (shadow !== undefined) findings.push('shadowed');
  if (!isMissing && !isOrdered) findings.push('disordered');
  return {
    findings,
    inForce: !isMissing && isOrdered && inTheWay.length === 0,
    culprit: (foreign ?? shadow)?.specification,
    lines: findings.length === 0 ? [] : renewal(recognised, wanted),
  };
}

/** The rules without those that another agent may have made: for a plan that leaves them alone. */
export function withoutForeign(current: readonly Rule[], wanted: WantedRules): readonly Rule[] {
  return current.filter((rule) => !wanted.isRecognised(rule) || isWanted(rule, wanted));
}

/** The lines that take away exactly the wanted rules, however often they are there; other agents' stay. */
export function planRemoval(current: readonly Rule[], wanted: WantedRules): readonly string[] {
  const ours = current.filter((rule) => rule.chain === wanted.chain && isWanted(rule, wanted));
  return ours.map((rule) => `-D ${rule.chain} ${rule.specification}`);
}

function placesOf(rules: readonly Rule[], specification: string, wanted: WantedRules): number[] {
  return rules.flatMap((rule, index) => (wanted.isSame(rule, specification) ? [index] : []));
}

function isWanted(rule: Rule, wanted: WantedRules): boolean {
  return wanted.specifications.some((specification) => wanted.isSame(rule, specification));
}

function renewal(recognised: readonly Rule[], wanted: WantedRules): string[] {
  const deletions = recognised.map((rule) => `-D ${rule.chain} ${rule.specification}`);
  const insertions = wanted.specifications.map((text, index) => `-I ${wanted.chain} ${index + 1} ${text}`);
  return [...deletions, ...insertions];
}
