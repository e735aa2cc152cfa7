import type { RoleRequest } from './assume-role.ts';
import type { StsFailure } from './sts.ts';

/**
 * The same failure with what is to be done about it, where that is not plain from STS's own words: the permissions that tags and
 * source identities need beyond sts:AssumeRole, a tag that is inherited and cannot be set again
 * (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html), and tags that take too much space.
 */
export function withAdvice(failure: StsFailure, request: Pick<RoleRequest, 'tags' | 'sourceIdentity'>): StsFailure {
  const advice = adviceFor(failure, request);
  return advice === undefined ? failure : { ...failure, detail: `${failure.detail} (${advice})` };
}

function adviceFor(
  { category, code, detail }: StsFailure,
  { tags, sourceIdentity }: Pick<RoleRequest, 'tags' | 'sourceIdentity'>,
): string | undefined {
  if (category !== 'denied' && category !== 'bad-request') return undefined;
  if (tags.length > 0 && /transitive/i.test(detail)) return INHERITED_TAG;
  if (code.startsWith('PackedPolicyTooLarge'))
    return 'set fewer or shorter session tags, or none by --session-tags=off';
  if (/sts:TagSession/.test(detail))
    return 'session tags need sts:TagSession in the policies of the server and of the role';
  if (sourceIdentity === '') return undefined;
  if (/sts:SetSourceIdentity/.test(detail)) {
    return '--source-identity needs sts:SetSourceIdentity in the policies of the server and of the role';
  }
  return undefined;
}

export const INHERITED_TAG =
  "the server's own session has this tag and passes it on, so that it cannot be set again: disable session tags in the Pod Identity association of the server, or give --session-tags=off";
