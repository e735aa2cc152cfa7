import { RE2JS } from 're2js';

import { compileExpression, type Expression, LARGEST_PROGRAM } from './expression.ts';
import { type NamespaceRecord, PERMITTED_ANNOTATION } from './namespace.ts';

/** How kube2iam reads the entries of a namespace's list (`--namespace-restriction-format`). */
export type AllowedRolesFormat = 'glob' | 'regexp';

/** kube2iam's annotation of a namespace: a JSON list of the roles that its pods may have. */
export const ALLOWED_ROLES_ANNOTATION = 'iam.amazonaws.com/allowed-roles';

/** What a namespace permits: its expression, or the list in its place. */
export type Permitted = Pick<NamespaceRecord, 'permitted' | 'isList'>;

/** How servers read that. */
export interface PermittedRules {
  /** False with `--disable-strict-namespace-regexp`. */
  readonly strict: boolean;
  /** What stands before the short names of a list. */
  readonly baseArn: string | undefined;
  /** `--namespace-restriction-format` */
  readonly listFormat: AllowedRolesFormat;
}

export function compilePermitted({ permitted, isList }: Permitted, rules: PermittedRules): Expression {
  const { strict, baseArn = '', listFormat } = rules;
  return isList === true ? compileAllowedRoles(permitted, listFormat, baseArn) : compileExpression(permitted, strict);
}

/** What namespaces permit, each compiled once. */
export function createExpressions(rules: PermittedRules): (namespace: Permitted | undefined) => Expression {
  const compiled = new Map<string, Expression>();
  return (namespace = { permitted: '' }) => {
    const key = `${permittedAnnotation(namespace)} ${namespace.permitted}`;
    const known = compiled.get(key) ?? compilePermitted(namespace, rules);
    compiled.set(key, known);
    return known;
  };
}

/** The annotation that it stands in. */
export function permittedAnnotation({ isList }: Pick<NamespaceRecord, 'isList'>): string {
  return isList === true ? ALLOWED_ROLES_ANNOTATION : PERMITTED_ANNOTATION;
}

/** Longer lists are refused unread. */
export const LONGEST_LIST = 65_536;

/** The role that kube2iam means by a text: an ARN as it is, anything else behind the base ARN, without a look at it. */
export function kube2iamRoleArn(role: string, baseArn: string): string {
  return role.toLowerCase().startsWith('arn:') ? role : baseArn + role;
}

/** The texts of a list; undefined for what is no JSON list, which permits nothing. */
export function parseAllowedRoles(text: string): readonly string[] | undefined {
  if (text.length > LONGEST_LIST) return undefined;
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) ? list.filter((entry) => typeof entry === 'string') : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Compiles kube2iam's annotation (jtblin/kube2iam, `mappings/mapper.go`). A glob's `*` stands for anything, slashes as well, and
 * the rest must match the whole ARN; a regular expression matches anywhere in it. The base ARN is put before each entry that is
 * no ARN, also before an expression. An entry that does not compile permits nothing and leaves the others alone.
 */
export function compileAllowedRoles(text: string, format: AllowedRolesFormat, baseArn: string): Expression {
  const entries = parseAllowedRoles(text);
  if (entries === undefined) return { ok: false, text, reason: 'it is no JSON list of roles' };
  const matchers = entries.map((entry) => {
    const pattern = kube2iamRoleArn(entry, baseArn);
    return format === 'glob' ? (roleArn: string) => matchesGlob(pattern, roleArn) : compileSearch(pattern);
  });
  const matches = (roleArn: string): boolean => matchers.some((matcher) => matcher?.(roleArn) === true);
  return { ok: true, text, matches, matchesAsKiam: () => false };
}

/**
 * The expression for `permitted` that means the same as a list, to Kiam as well; `''` where it permits nothing. `dropped` are the
 * entries that are not in it: those that do not compile, and those with `\Q`, which could swallow what stands behind them.
 */
export function permittedByList(
  text: string,
  format: AllowedRolesFormat,
  baseArn: string,
): { readonly expression: string; readonly dropped: readonly string[] } {
  const dropped: string[] = [];
  const expressions: string[] = [];
  for (const entry of parseAllowedRoles(text) ?? []) {
    const pattern = kube2iamRoleArn(entry, baseArn);
    if (format === 'glob') expressions.push(pattern.split('*').map(escaped).join('.*'));
    else if (compileSearch(pattern) === undefined || pattern.includes(String.raw`\Q`)) dropped.push(entry);
    else expressions.push(`.*(?:${pattern}).*`);
  }
  return { expression: expressions.length > 1 ? `(?:${expressions.join('|')})` : (expressions[0] ?? ''), dropped };
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.|?+()[\]{}]/g, String.raw`\$&`);
}

/** As ryanuber/go-glob: parts between stars are found from left to right, the first at the start and the last at the end. */
export function matchesGlob(pattern: string, text: string): boolean {
  const [first = '', ...others] = pattern.split('*');
  const last = others.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(first)) return false;
  let from = first.length;
  for (const part of others) {
    const found = text.indexOf(part, from);
    if (found === -1) return false;
    from = found + part.length;
  }
  return text.length - last.length >= from && text.endsWith(last);
}

function compileSearch(expression: string): ((roleArn: string) => boolean) | undefined {
  try {
    const compiled = RE2JS.compile(expression);
    return compiled.programSize() > LARGEST_PROGRAM ? undefined : (roleArn) => compiled.matcher(roleArn).find();
  } catch {
    return undefined;
  }
}
