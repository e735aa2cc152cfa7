import type { Rule } from './rules.ts';
import type { DesiredRules } from './desired-rules.ts';

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
  /** Ours are in the wrong order. */
  | 'disordered';

export interface Plan {
  /** Nothing: all is as it should be. */
  readonly findings: readonly RuleProblem[];
  /** Whether the desired rules take effect now, even if other rules have to be cleaned up. */
  readonly inForce: boolean;
  /** One of the rules that are foreign or in the way, for the log. */
  readonly culprit: string | undefined;
  /** Lines for `iptables-restore --noflush`, which does all of them or none. */
  readonly lines: readonly string[];
}

/**
 * What must be done so that a chain holds the desired rules, each once and before all that is in their way. Idempotent:
 * once the lines are carried out, the next plan is empty. Rules that are neither recognised nor desired are never touched:
 * what is in the way stays, behind ours.
 */
export function plan(current: readonly Rule[], desired: DesiredRules): Plan {
  const rules = current.filter((rule) => rule.chain === desired.chain);
  const recognised = rules.filter((rule) => desired.isRecognised(rule));
  const foreign = recognised.find((rule) => !isDesired(rule, desired));
  const places = desired.specifications.map((specification) => placesOf(rules, specification, desired));
  const firsts = places.map((found) => found[0] ?? Number.POSITIVE_INFINITY);
  const isMissing = places.some((found) => found.length === 0);
  const isOrdered = firsts.every((place, index) => place > (firsts[index - 1] ?? -1));
  const before = isMissing ? [] : rules.slice(0, Math.max(...firsts));
  const inTheWay = before.filter((rule) => !isDesired(rule, desired) && desired.isInTheWay(rule));
  const shadow = inTheWay.find((rule) => !desired.isRecognised(rule));
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
    lines: findings.length === 0 ? [] : renewal(recognised, desired),
  };
}

/** The rules without those that another agent may have made: for a plan that leaves them alone. */
export function withoutForeign(current: readonly Rule[], desired: DesiredRules): readonly Rule[] {
  return current.filter((rule) => !desired.isRecognised(rule) || isDesired(rule, desired));
}

/** The lines that remove exactly the desired rules, as often as they are there; other agents' rules stay. */
export function planRemoval(current: readonly Rule[], desired: DesiredRules): readonly string[] {
  const ours = current.filter((rule) => rule.chain === desired.chain && isDesired(rule, desired));
  return ours.map((rule) => `-D ${rule.chain} ${rule.specification}`);
}

function placesOf(rules: readonly Rule[], specification: string, desired: DesiredRules): number[] {
  return rules.flatMap((rule, index) => (desired.isSame(rule, specification) ? [index] : []));
}

function isDesired(rule: Rule, desired: DesiredRules): boolean {
  return desired.specifications.some((specification) => desired.isSame(rule, specification));
}

function renewal(recognised: readonly Rule[], desired: DesiredRules): string[] {
  const deletions = recognised.map((rule) => `-D ${rule.chain} ${rule.specification}`);
  const insertions = desired.specifications.map((text, index) => `-I ${desired.chain} ${index + 1} ${text}`);
  return [...deletions, ...insertions];
}
