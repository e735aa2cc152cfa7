import { createHash } from 'node:crypto';

import type { AccountPlan, Destination } from './plan.ts';
import { accountOfRole } from './reasons.ts';

export interface Statement {
  readonly Sid: string;
  readonly Effect: 'Allow';
  readonly Principal: Readonly<Record<string, string>>;
  readonly Action: string | readonly string[];
  readonly Condition: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

/** What a role's trust policy gets in addition to what it says. */
export interface RoleTrust {
  readonly roleArn: string;
  /** As the IAM API names it, without its path. */
  readonly name: string;
  readonly account: string;
  readonly statements: readonly Statement[];
}

/**
 * The quota of a role's trust policy, which can be raised:
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
 */
export const LONGEST_TRUST_POLICY = 2048;

/** The beginning of each statement's Sid: other clusters and the other target have their own statements in the same role. */
export function sidPrefix({ to, account, region, clusterName }: Destination): string {
  const hash = createHash('sha256').update(`${to}/${account}/${region}/${clusterName}`).digest('hex');
  return `KiamExport${hash.slice(0, 8)}`;
}

/** The statements of every role, of the intermediate one too. */
export function trustOf(accounts: readonly AccountPlan[], destination: Destination): readonly RoleTrust[] {
  const { to, account, intermediateRole } = destination;
  const isForeign = (roleArn: string): boolean => to === 'pod-identity' && accountOfRole(roleArn) !== account;
  const trusts = [...Map.groupBy(accounts, ({ roleArn }) => roleArn)].map(([roleArn, members]) =>
    isForeign(roleArn)
      ? roleTrust(roleArn, byNamespace(members, destination, chained))
      : roleTrust(
          roleArn,
          to === 'irsa' ? webIdentity(roleArn, members, destination) : byNamespace(members, destination, podIdentity),
        ),
  );
  const foreign = accounts.filter(({ roleArn }) => isForeign(roleArn));
  const intermediate = roleTrust(intermediateRole, byNamespace(foreign, destination, podIdentity));
  return foreign.length === 0 ? trusts : [...trusts, intermediate];
}

function roleTrust(roleArn: string, statements: readonly Statement[]): RoleTrust {
  const name = roleArn.slice(roleArn.lastIndexOf('/') + 1);
  return { roleArn, name, account: accountOfRole(roleArn), statements };
}

type InNamespace = (namespace: string, names: readonly string[], destination: Destination) => Omit<Statement, 'Sid'>;

/** A statement for each namespace: one for all would permit every ServiceAccount's name in every one of them. */
function byNamespace(
  accounts: readonly AccountPlan[],
  destination: Destination,
  statement: InNamespace,
): readonly Statement[] {
  return [...Map.groupBy(accounts, ({ namespace }) => namespace)].map(([namespace, members], index) => ({
    Sid: `${sidPrefix(destination)}${index + 1}`,
    ...statement(
      namespace,
      members.map(({ name }) => name),
      destination,
    ),
  }));
}

/** https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html */
function podIdentity(namespace: string, names: readonly string[], destination: Destination): Omit<Statement, 'Sid'> {
  const { partition, region, account, clusterName } = destination;
  return {
    Effect: 'Allow',
    Principal: { Service: 'pods.eks.amazonaws.com' },
    Action: ['sts:AssumeRole', 'sts:TagSession'],
    Condition: {
      StringEquals: {
        'aws:SourceAccount': account,
        'aws:RequestTag/kubernetes-namespace': namespace,
        'aws:RequestTag/kubernetes-service-account': names,
      },
      ArnEquals: { 'aws:SourceArn': `arn:${partition}:eks:${region}:${account}:cluster/${clusterName}` },
    },
  };
}

/** For a role of another account: the tags of the session that Pod Identity made say who asks. */
function chained(namespace: string, names: readonly string[], destination: Destination): Omit<Statement, 'Sid'> {
  return {
    Effect: 'Allow',
    Principal: { AWS: destination.intermediateRole },
    Action: ['sts:AssumeRole', 'sts:TagSession'],
    Condition: {
      StringEquals: {
        'aws:PrincipalTag/kubernetes-namespace': namespace,
        'aws:PrincipalTag/kubernetes-service-account': names,
      },
    },
  };
}

/** https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html */
function webIdentity(
  roleArn: string,
  accounts: readonly AccountPlan[],
  destination: Destination,
): readonly Statement[] {
  const issuer = issuerName(destination);
  return [
    {
      Sid: `${sidPrefix(destination)}1`,
      Effect: 'Allow',
      Principal: { Federated: providerArn(accountOfRole(roleArn), destination) },
      Action: 'sts:AssumeRoleWithWebIdentity',
      Condition: {
        StringEquals: {
          [`${issuer}:aud`]: 'sts.amazonaws.com',
          [`${issuer}:sub`]: accounts.map(({ namespace, name }) => `system:serviceaccount:${namespace}:${name}`),
        },
      },
    },
  ];
}

/** The OIDC provider of the cluster, in the account of a role: IAM has one of its own in each. */
export function providerArn(account: string, destination: Destination): string {
  return `arn:${destination.partition}:iam::${account}:oidc-provider/${issuerName(destination)}`;
}

function issuerName({ oidcIssuer }: Destination): string {
  return oidcIssuer.replace('https://', '');
}
