import { EXTERNAL_ID_ANNOTATION, SESSION_NAME_ANNOTATION } from '#domain/pod.ts';
import { EKS_ROLE_ANNOTATION, SESSION_TAG_PREFIX, type ServiceAccountRecord } from '#domain/service-account.ts';
import type { WorkloadPod } from '#domain/workload.ts';

import type { Destination, Reason, NewWay } from './plan.ts';

const NAMES: Readonly<Record<NewWay, string>> = { 'pod-identity': 'Pod Identity', irsa: 'IRSA' };

/**
 * The properties of a pod that keep it from moving. Sources:
 * https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html (considerations: neither Fargate nor Windows) and
 * https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html (no external id, no session tags).
 */
export function reasonsOf(
  pod: WorkloadPod,
  roleArn: string,
  account: ServiceAccountRecord | undefined,
  destination: Destination,
): readonly Reason[] {
  const { to } = destination;
  const reasons: Reason[] = [];
  const add = (kind: Reason['kind'], says: string, fix: string): void => void reasons.push({ kind, says, fix });
  if (pod.mirror) add('static-pod', 'a static pod can have no ServiceAccount', 'run it as a DaemonSet or Deployment');
  if (pod.externalId !== '') {
    const fix = 'have the program assume the role itself, with the external id, from a role of its ServiceAccount';
    add('external-id', `it has ${EXTERNAL_ID_ANNOTATION}, which ${NAMES[to]} does not send`, fix);
  }
  if (pod.sessionName !== '') {
    const says = `it has ${SESSION_NAME_ANNOTATION}; ${NAMES[to]} makes a session name of its own`;
    const remove = 'remove the annotation if neither a policy nor an audit depends on the name';
    add('session-name', says, to === 'irsa' ? `${remove}, and set AWS_ROLE_SESSION_NAME if you like` : remove);
  }
  if (pod.annotated.ignoredTag !== '' || (account?.ignoredTag ?? '') !== '') {
    const says = `it or its ServiceAccount has ${SESSION_TAG_PREFIX}* annotations, which ${NAMES[to]} does not send`;
    add('session-tags', says, 'change the policies that depend on these tags, then remove the annotations');
  }
  if (to === 'pod-identity' && pod.fargate) {
    add('fargate', 'it runs on Fargate, where Pod Identity is not available', 'use --to=irsa for it');
  }
  if (to === 'pod-identity' && pod.windows) {
    add('windows', 'it runs on Windows, where Pod Identity is not available', 'use --to=irsa for it');
  }
  reasons.push(...webIdentityReasons(pod, roleArn, account, to), ...accountReasons(roleArn, destination));
  return reasons;
}

function webIdentityReasons(
  { asksBy }: WorkloadPod,
  roleArn: string,
  account: ServiceAccountRecord | undefined,
  to: NewWay,
): readonly Reason[] {
  const annotated = account?.eksRole ?? '';
  const kind = 'web-identity';
  const isPassing = asksBy === 'web identity';
  if (to === 'irsa') {
    if (annotated === roleArn || (annotated === '' && !isPassing)) return [];
    const says =
      annotated === ''
        ? 'its containers have AWS_WEB_IDENTITY_TOKEN_FILE, and its ServiceAccount no role'
        : `its ServiceAccount has ${EKS_ROLE_ANNOTATION} with another role, ${annotated}`;
    return [{ kind, says, fix: 'decide which of the two the pod is to have, and remove the other' }];
  }
  if (!isPassing) return [];
  const says = 'its containers have AWS_WEB_IDENTITY_TOKEN_FILE, which SDKs use before Pod Identity';
  return [{ kind, says, fix: `remove ${EKS_ROLE_ANNOTATION} from its ServiceAccount and restart it first` }];
}

/** An association's own role must be of the cluster's account; IRSA needs an OIDC provider in the role's account. */
function accountReasons(roleArn: string, { to, account, intermediateRole }: Destination): readonly Reason[] {
  const owner = accountOfRole(roleArn);
  if (to === 'irsa' || roleArn === '' || owner === account || intermediateRole !== '') return [];
  const says = `its role is of the account ${owner}, and an association takes only roles of the cluster's account`;
  return [{ kind: 'other-account', says, fix: 'give --intermediate-role, a role of the cluster that may assume it' }];
}

/** What is different for a pod that moves. */
export function notesOf({ hostNetwork, fargate }: WorkloadPod, to: NewWay): readonly string[] {
  const gains = `so ${NAMES[to]} gives it a role that it does not have today`;
  return [
    ...(hostNetwork ? [`Kiam serves a pod with hostNetwork by its token alone, as the new way does, ${gains}`] : []),
    ...(fargate ? [`Kiam has no agent on Fargate, ${gains}`] : []),
  ];
}

export function accountOfRole(roleArn: string): string {
  return roleArn.split(':')[4] ?? '';
}
