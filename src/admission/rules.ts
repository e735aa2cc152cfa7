import { LONGEST_EXPRESSION_BYTES } from '#domain/expression.ts';
import { LONGEST_TAG_VALUE } from '#domain/iam-grammar.ts';
import { PERMITTED_ANNOTATION } from '#domain/namespace.ts';
import { EXTERNAL_ID_ANNOTATION, ROLE_ANNOTATION, SESSION_NAME_ANNOTATION } from '#domain/pod.ts';
import { SESSION_TAG_PREFIX } from '#domain/service-account.ts';

/** One judgement, in CEL (https://kubernetes.io/docs/reference/using-api/cel/). */
export interface PolicyRule {
  /** True where nothing is wrong. */
  readonly holds: string;
  /** A text in CEL: what is wrong and how to fix it. */
  readonly message: string;
}

const HAS_NO_ROLE = `variables.role == ''`;
const HAS_EXPRESSION = `variables.permitted != ''`;
const HAS_NO_EXPRESSION = `variables.permitted == ''`;

/** What `roleArnProblem` accepts. The length comes first, so that what is matched is short. */
const IS_ROLE_ARN = `size(variables.arn) <= 2048
  && variables.arn.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/([!-~]{0,511}/)?[0-9A-Za-z_+=,.@-]{1,64}$')`;

/** What `tagValueProblem` accepts, of a text that is short enough. */
const TAG_VALUE = '^[\\\\p{L}\\\\p{Z}\\\\p{N}_.:/=+@-]*$';

const IS_SHORT_ENOUGH = `size(bytes(variables.permitted)) <= ${LONGEST_EXPRESSION_BYTES}`;

/** An error of CEL, in the words of its compiler, when the namespace's expression does not compile by itself; otherwise true. */
const COMPILES = `(''.matches(variables.permitted) ? true : true)`;

/**
 * Whether the namespace's expression matches a whole text. CEL can only search, and an expression can close a group that is put
 * round it: `x)|(?:.*`. So the expression is first compiled alone, where such an expression is an error, and only then put
 * between `^(?:` and `)$`. One that ends within a quotation (`\Q` without `\E`) would quote the end of that as well: it is
 * matched with the quotation closed; either form is an error where the other is meant, and `||` passes over that.
 */
const matchesWhole = (text: string): string => {
  const form = (end: string): string => `${text}.matches('^(?:' + variables.permitted + '${end})$')`;
  return `variables.compiles && (variables.permitted.contains('\\\\Q') ? ${form('')} || ${form('\\\\E')} : ${form('')})`;
};

/** What the rules use beyond the object's own values; evaluated at their first use. */
export const JUDGEMENTS: Readonly<Record<string, string>> = {
  isRoleArn: IS_ROLE_ARN,
  isShortEnough: IS_SHORT_ENOUGH,
  compiles: COMPILES,
  isPermitted: `params.data.strict == 'false' ? variables.arn.matches(variables.permitted) : ${matchesWhole('variables.arn')}`,
};

/** Messages are at most 5 KiB long. */
const shortened = (text: string): string => `(size(${text}) > 200 ? ${text}.substring(0, 200) + '…' : ${text})`;
const quoted = (text: string): string => `'\\'' + ${shortened(text)} + '\\''`;
const NAMESPACE_NAME = 'namespaceObject.metadata.name';

/** For a Namespace only its own expression can be judged, no role. */
const isNamespaceOr = (holds: string): string => `object.kind == 'Namespace' || ${HAS_NO_ROLE} || ${holds}`;

/** What cannot work: the pods would get no credentials. */
export const RULES: readonly PolicyRule[] = [
  {
    holds: `${HAS_NO_ROLE} || variables.isRoleArn`,
    message: `'the role ' + ${quoted('variables.role')} + ' cannot exist; fix: ${ROLE_ANNOTATION} takes a name, path/name, or arn:aws:iam::ACCOUNT:role/NAME (names: 64 letters, digits and +=,.@_- at most; accounts: 12 digits)'`,
  },
  {
    holds: `${HAS_NO_ROLE} || !variables.hostNetwork || params.data.containerCredentials == 'true'`,
    message: `'a pod with hostNetwork shares the address of its node, and gets nothing for the role ' + ${quoted('variables.role')} + '; fix: remove hostNetwork or the annotation ${ROLE_ANNOTATION}'`,
  },
  {
    holds: isNamespaceOr(HAS_EXPRESSION),
    message: `'namespace ' + ${NAMESPACE_NAME} + ' has no annotation ${PERMITTED_ANNOTATION}, so that its pods get nothing; fix: kubectl annotate namespace ' + ${NAMESPACE_NAME} + ' ${PERMITTED_ANNOTATION}=EXPRESSION, with an expression that matches the whole ARN'`,
  },
  {
    holds: `(object.kind != 'Namespace' && ${HAS_NO_ROLE}) || ${HAS_NO_EXPRESSION} || variables.isShortEnough`,
    message: `'${PERMITTED_ANNOTATION} is longer than ${LONGEST_EXPRESSION_BYTES} bytes, so that it permits nothing; fix: shorten it'`,
  },
  {
    holds: isNamespaceOr(
      `${HAS_NO_EXPRESSION} || !variables.isShortEnough || !variables.isRoleArn || variables.isPermitted`,
    ),
    message: `${quoted('variables.permitted')} + ' (${PERMITTED_ANNOTATION} of namespace ' + ${NAMESPACE_NAME} + ') does not match ' + ${shortened('variables.arn')} + '; fix: the expression must match the whole ARN, from arn: to its name'`,
  },
  {
    holds: `object.kind != 'Namespace' || !variables.isShortEnough || variables.compiles`,
    message: `'${PERMITTED_ANNOTATION} does not compile; fix: write it in the syntax of RE2'`,
  },
  {
    holds: `variables.role == '' || variables.externalId == '' || variables.externalId.matches('^[0-9A-Za-z_+=,.@:/-]{2,1000}[0-9A-Za-z_+=,.@:/-]{0,224}$')`,
    message: `'AWS does not accept the external id; fix: ${EXTERNAL_ID_ANNOTATION} has 2 to 1224 letters, digits and +=,.@:/_-'`,
  },
  {
    holds: `variables.sessionTags.all(name, !(name in variables.allowedTags) || (size(variables.annotations[name]) <= ${LONGEST_TAG_VALUE} && variables.annotations[name].matches('${TAG_VALUE}')))`,
    message: `'AWS does not accept the value of a session tag; fix: ${SESSION_TAG_PREFIX}KEY has at most ${LONGEST_TAG_VALUE} letters, digits, spaces and _.:/=+-@'`,
  },
];

/** Roles of which hardly any expression that is meant matches all. */
const UNRELATED_ROLES = [
  'arn:aws:iam::314159265358:role/kiam-tries',
  'arn:aws-cn:iam::271828182845:role/x/whether-all-match',
];

/** What works, and is probably not what was meant. */
export const ADVICE: readonly PolicyRule[] = [
  {
    holds: 'variables.sessionTags.all(name, name in variables.allowedTags)',
    message: `'a session tag does not count; fix: remove each ${SESSION_TAG_PREFIX}KEY whose key the servers do not allow (--allowed-session-tags): ' + ${shortened(`variables.sessionTags.filter(name, !(name in variables.allowedTags)).join(', ')`)}`,
  },
  {
    holds: `object.kind != 'Namespace' || !('${PERMITTED_ANNOTATION}' in variables.annotations) || ${HAS_EXPRESSION}`,
    message: `'${PERMITTED_ANNOTATION} is empty, so that the pods of the namespace get nothing'`,
  },
  {
    holds: `object.kind != 'Namespace' || ${HAS_NO_EXPRESSION} || !variables.isShortEnough || !(${UNRELATED_ROLES.map((arn) => matchesWhole(`'${arn}'`)).join(' && ')})`,
    message: `'${PERMITTED_ANNOTATION} matches every role of every account; fix: name the account and the roles, as arn:aws:iam::ACCOUNT:role/PATH/.*'`,
  },
  {
    holds: `variables.role == '' || ('kiam-' + variables.sessionName).matches('^[0-9A-Za-z_+=,.@-]{1,64}$')`,
    message: `'the session name is changed before it is used; fix: ${SESSION_NAME_ANNOTATION} has at most 59 letters, digits and +=,.@_-'`,
  },
];
