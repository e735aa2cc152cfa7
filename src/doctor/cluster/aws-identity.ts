import type { TagMode } from '#domain/attribution.ts';
import { callerIdentity } from '#aws/caller-identity.ts';
import type { ServerCredentials } from '#aws/server-credentials.ts';
import type { StsFailure } from '#aws/sts.ts';

import { type Observation, cannotTell, ok, wrong } from '../finding.ts';

export interface IdentityOptions {
  /** What the SDK's chain gives. */
  readonly base: ServerCredentials;
  /** The session of `--assume-role-arn`; undefined without it. */
  readonly assumed: { readonly roleArn: string; readonly credentials: ServerCredentials } | undefined;
  readonly baseArn: string | undefined;
  /** Where STS is asked, for the report. */
  readonly endpoint: string;
  readonly signal: AbortSignal;
}

/** The identity whose credentials the server signs with, before and after `--assume-role-arn`. Never rejects. */
export async function checkIdentity(options: IdentityOptions): Promise<Observation[]> {
  const { base, assumed, endpoint, signal } = options;
  const missing = await base.ready(signal);
  if (missing !== undefined) return [wrong(missing.detail, FIX_CHAIN)];
  const first = await callerIdentity(base.client, signal);
  if (!first.ok) return [wrong(`STS at ${endpoint} does not say who we are: ${first.detail}`, fixOf(first))];
  const observations = [ok(`STS at ${endpoint} sees us as ${first.arn}`)];
  if (assumed === undefined) return [...observations, ...checkAccount(options, first.arn)];
  const refused = await assumed.credentials.ready(signal);
  if (refused !== undefined) {
    const fix = `${first.arn} needs sts:AssumeRole on ${assumed.roleArn}, whose trust policy must name it (docs/iam.md)`;
    return [...observations, wrong(`--assume-role-arn: ${refused.detail}`, fix)];
  }
  const second = await callerIdentity(assumed.credentials.client, signal);
  if (!second.ok) return [...observations, wrong(`--assume-role-arn: ${second.detail}`, fixOf(second))];
  return [...observations, ok(`with --assume-role-arn we are ${second.arn}`), ...checkAccount(options, second.arn)];
}

const FIX_CHAIN =
  'give the server an identity: IRSA or Pod Identity on its ServiceAccount, or an instance profile of its node and the host’s network';

function fixOf({ category }: StsFailure): string {
  if (category === 'unavailable') {
    return 'may the pod reach this endpoint (NAT gateway, VPC endpoint, proxy)? are --region, AWS_ENDPOINT_URL_STS and AWS_CA_BUNDLE right?';
  }
  if (category === 'own-credentials') return 'these credentials are expired or wrong; is the clock right?';
  return 'see docs/iam.md';
}

/** Compares the account of short role names with the server's own account. */
function checkAccount({ baseArn }: IdentityOptions, ownArn: string): Observation[] {
  if (baseArn === undefined) return [];
  const [, basePartition = '', , , baseAccount = ''] = baseArn.split(':');
  const [, partition = '', , , account = ''] = ownArn.split(':');
  if (basePartition !== partition) {
    const fix = `roles cannot be assumed across partitions: begin the base ARN with arn:${partition}:`;
    return [wrong(`short role names become ${baseArn}…, and we are in the partition ${partition}`, fix)];
  }
  // Roles in another account are unusual, but work where their trust policies name the server's role.
  const where = baseAccount === account ? 'our own account' : `account ${baseAccount}, while we are in ${account}`;
  return [ok(`short role names become ${baseArn}…, in ${where}`)];
}

const FIX_ASSOCIATION = 'create the association with --disable-session-tags';

/**
 * All session tags of EKS Pod Identity are transitive (https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html), and no
 * call shows whether a session has any.
 */
export function checkInheritedTags(containerCredentials: string | undefined, tags: TagMode): Observation[] {
  if (containerCredentials === undefined || containerCredentials === '') return [];
  if (tags !== 'off') {
    const says = `the server has its own identity by EKS Pod Identity: unless its association has session tags disabled, STS refuses every session with --session-tags=${tags}, because a tag that the server's session passes on cannot be set again`;
    return [cannotTell(says, `${FIX_ASSOCIATION}; the line \`roles\` shows whether STS refuses them`)];
  }
  return [
    cannotTell(
      'the server has its own identity by EKS Pod Identity: unless its association has session tags disabled, every pod’s session says kubernetes-namespace and kubernetes-service-account of the server',
      `${FIX_ASSOCIATION}, so that no policy takes a pod for the server (docs/iam.md)`,
    ),
  ];
}
