import { EKS_ROLE_ANNOTATION, type ServiceAccountRecord } from '#domain/service-account.ts';

import type { AccountPlan, Destination } from './plan.ts';
import { accountOfRole } from './reasons.ts';
import { quote } from './shell.ts';
import { providerArn, type RoleTrust, sidPrefix } from './trust.ts';

/** Commands that belong together, and why they are there. */
export interface Step {
  readonly title: string;
  readonly commands: readonly string[];
}

export interface StepsOptions {
  readonly destination: Destination;
  readonly accounts: readonly AccountPlan[];
  readonly trusts: readonly RoleTrust[];
  readonly serviceAccounts: readonly ServiceAccountRecord[];
}

/** Marks what these commands made, so that the way back leaves alone what was there before. */
const MARK = 'kiam-export';

/**
 * The way there. A running pod keeps its credentials until it is recreated, and Kiam's annotations stay, so that every pod has
 * one of the two ways at every moment: roles trust the new way before any pod uses it.
 */
export function stepsThere(options: StepsOptions): readonly Step[] {
  const { destination, accounts, trusts, serviceAccounts } = options;
  const isPodIdentity = destination.to === 'pod-identity';
  const spread = { title: 'Wait until IAM has spread the change', commands: ['sleep "${KIAM_EXPORT_WAIT:-30}"'] };
  return [
    isPodIdentity ? addonStep(destination) : providerStep(destination, trusts),
    {
      title: 'Roles trust the new way, and still trust Kiam',
      commands: trusts.map((role) => trustCommand(role, destination)),
    },
    ...(isPodIdentity ? intermediateStep(options) : []),
    { title: 'ServiceAccounts to be made', commands: accounts.filter(({ isNew }) => isNew).map(makeAccount) },
    spread,
    isPodIdentity
      ? {
          title: 'Associations, for pods that are made from now on',
          commands: accounts.map((account) => associate(account, destination)),
        }
      : {
          title: 'ServiceAccounts name their role, for pods that are made from now on',
          commands: accounts.flatMap((account) => annotate(account, serviceAccounts)),
        },
    ...(isPodIdentity ? [{ ...spread, title: 'Wait until EKS has spread the associations' }] : []),
    { title: 'Pods are made again', commands: accounts.filter(({ isNew }) => !isNew).flatMap(restart) },
  ].filter(({ commands }) => commands.length > 0);
}

/**
 * The way back, to a cluster whose agents and servers still run: first new pods use Kiam, and the roles' trust in the new way
 * is removed last.
 */
export function stepsBack({ destination, accounts, trusts }: StepsOptions): readonly Step[] {
  const isPodIdentity = destination.to === 'pod-identity';
  const present = accounts.filter(({ isNew }) => !isNew);
  const dissociated = accounts.flatMap((account) => {
    const remove = `dissociate ${quote(account.namespace)} ${quote(account.name)}`;
    return account.isNew ? [remove] : [remove, ...restart(account)];
  });
  const unannotate = `kubectl annotate serviceaccounts --all-namespaces --selector=${MARK}=irsa ${EKS_ROLE_ANNOTATION}-`;
  const unmark = `kubectl label serviceaccounts --all-namespaces --selector=${MARK}=irsa ${MARK}-`;
  const there = isPodIdentity
    ? [{ title: 'Each association is deleted and its pods are made again at once', commands: dissociated }]
    : [
        { title: 'ServiceAccounts no longer name a role', commands: [unannotate, unmark] },
        { title: 'Pods are made again', commands: present.flatMap(restart) },
      ];
  return [
    ...there,
    {
      title: 'Roles trust Kiam alone',
      commands: trusts.map((role) => `untrust ${quote(role.name)}${profile(role.account, destination)}`),
    },
  ].filter(({ commands }) => commands.length > 0);
}

/** Roles of other accounts are changed with a profile of that account. */
function profile(account: string, destination: Destination): string {
  return account === destination.account ? '' : ` --profile account-${account}`;
}

export function cluster({ clusterName, region }: Destination): string {
  return `--cluster-name ${quote(clusterName)} --region ${quote(region)}`;
}

function addonStep(destination: Destination): Step {
  const addon = `${cluster(destination)} --addon-name eks-pod-identity-agent`;
  return {
    title: 'The agent of Pod Identity on every node',
    commands: [
      `aws eks describe-addon ${addon} > /dev/null 2>&1 || aws eks create-addon ${addon}`,
      `[ -n "\${KIAM_EXPORT_NO_WAIT:-}" ] || aws eks wait addon-active ${addon}`,
    ],
  };
}

function providerStep(destination: Destination, trusts: readonly RoleTrust[]): Step {
  const accounts = [...new Set(trusts.map(({ account }) => account))];
  return {
    title: 'IAM knows the issuer of the tokens',
    commands: accounts.map((account) => {
      const there = `aws iam get-open-id-connect-provider --open-id-connect-provider-arn ${quote(providerArn(account, destination))}`;
      const make = `aws iam create-open-id-connect-provider --url ${quote(destination.oidcIssuer)} --client-id-list sts.amazonaws.com`;
      const as = profile(account, destination);
      return `${there}${as} > /dev/null 2>&1 || ${make}${as}`;
    }),
  };
}

function trustCommand(role: RoleTrust, destination: Destination): string {
  return `trust ${quote(role.name)} ${quote(trustFile(role))}${profile(role.account, destination)}`;
}

/** Where the statements of a role are, below the folder that the script makes. */
export function trustFile({ account, name }: RoleTrust): string {
  return `trust/${account}-${name}.json`;
}

export const INTERMEDIATE_FILE = 'intermediate-role.json';

function intermediateStep({ destination, accounts }: StepsOptions): readonly Step[] {
  const { intermediateRole } = destination;
  if (foreignRoles(accounts, destination).length === 0) return [];
  const name = intermediateRole.slice(intermediateRole.lastIndexOf('/') + 1);
  const put = `aws iam put-role-policy --role-name ${quote(name)} --policy-name ${MARK}`;
  return [
    {
      title: 'The intermediate role may assume roles of other accounts',
      commands: [`${put} --policy-document file://${INTERMEDIATE_FILE}`],
    },
  ];
}

export function foreignRoles(accounts: readonly AccountPlan[], { to, account }: Destination): readonly string[] {
  if (to === 'irsa') return [];
  return [...new Set(accounts.map(({ roleArn }) => roleArn))].filter((roleArn) => accountOfRole(roleArn) !== account);
}

function makeAccount({ namespace, name }: AccountPlan): string {
  const make = `kubectl create serviceaccount ${quote(name)} --namespace ${quote(namespace)} --dry-run=client --output=yaml`;
  return `${make} | kubectl apply --filename=-`;
}

/** `associated` stops the script where the ServiceAccount has another role already. */
function associate({ namespace, name, roleArn }: AccountPlan, destination: Destination): string {
  const isForeign = accountOfRole(roleArn) !== destination.account;
  const roles = isForeign
    ? `--role-arn ${quote(destination.intermediateRole)} --target-role-arn ${quote(roleArn)}`
    : `--role-arn ${quote(roleArn)}`;
  const who = `--namespace ${quote(namespace)} --service-account ${quote(name)}`;
  const create = `aws eks create-pod-identity-association ${cluster(destination)} ${who} ${roles} --tags ${MARK}=true`;
  return `associated ${quote(namespace)} ${quote(name)} ${quote(roleArn)} || ${create}`;
}

/** A ServiceAccount that names this role already is left alone, now and by `--undo`. */
function annotate(
  { namespace, name, roleArn }: AccountPlan,
  serviceAccounts: readonly ServiceAccountRecord[],
): readonly string[] {
  const present = serviceAccounts.find((account) => account.namespace === namespace && account.name === name);
  if (present?.eksRole === roleArn) return [];
  const who = `serviceaccount ${quote(name)} --namespace ${quote(namespace)}`;
  return [
    `kubectl label ${who} --overwrite ${MARK}=irsa`,
    `kubectl annotate ${who} --overwrite ${quote(`${EKS_ROLE_ANNOTATION}=${roleArn}`)}`,
  ];
}

function restart({ namespace, owners }: AccountPlan): readonly string[] {
  const of = (verb: string, owner: string): string =>
    `kubectl --namespace ${quote(namespace)} rollout ${verb} ${quote(owner)}`;
  return owners.flatMap((owner) => [of('restart', owner), of('status', owner)]);
}

/** The functions that the commands use; each does nothing where it was done before. */
export function functionsOf(destination: Destination): string {
  const eks = (verb: string): string => `aws eks ${verb} ${cluster(destination)}`;
  const list = `${eks('list-pod-identity-associations')} --namespace "$1" --service-account "$2"`;
  const prefix = sidPrefix(destination);
  const others = `(if type == "array" then . else [.] end) | map(select((.Sid // "") | startswith("${prefix}") | not))`;
  const get = 'aws iam get-role --role-name "$role" --query Role.AssumeRolePolicyDocument --output json "$@"';
  const update = 'aws iam update-assume-role-policy --role-name "$role"';
  const associations = `
associated() { # namespace, ServiceAccount, role
  id=$(${list} --query 'associations[0].associationId' --output text) || exit 1
  [ "$id" != None ] || return 1
  has=$(${eks('describe-pod-identity-association')} --association-id "$id" \\
    --query 'association.targetRoleArn || association.roleArn' --output text) || exit 1
  [ "$has" = "$3" ] || { echo "$1/$2 is associated with $has, not with $3" >&2; exit 1; }
}
dissociate() { # namespace, ServiceAccount
  for id in $(${list} --query 'associations[].associationId' --output text); do
    made=$(${eks('describe-pod-identity-association')} --association-id "$id" \\
      --query 'association.tags."${MARK}"' --output text)
    [ "$made" != true ] || ${eks('delete-pod-identity-association')} --association-id "$id"
  done
}`;
  return `trust() { # role, file with statements, flags of the AWS CLI
  role=$1; file=$2; shift 2
  ${get} > "$file.before"
  jq --slurpfile add "$file" '.Statement |= (${others}) + $add[0]' "$file.before" > "$file.after"
  ${update} --policy-document "file://$file.after" "$@"
}
untrust() { # role, flags of the AWS CLI
  role=$1; shift
  ${get} | jq '.Statement |= (${others})' > trust/untrust.json
  ${update} --policy-document file://trust/untrust.json "$@"
}${destination.to === 'irsa' ? '' : associations}`;
}
