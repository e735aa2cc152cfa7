import type { Attribution } from '#domain/attribution.ts';
import { type Identity, sessionNameOf } from '#domain/identity.ts';
import { permittedAnnotation } from '#domain/allowed-roles.ts';
import { type AskingWay, EXTERNAL_ID_ANNOTATION, type PodRecord, ROLE_ANNOTATION } from '#domain/pod.ts';
import { SESSION_TAG_PREFIX } from '#domain/service-account.ts';
import { SESSION_NAME_RULE } from '#domain/session-name.ts';
import { MASK } from '#telemetry/fields.ts';

import { type Link, quoted } from './explanation.ts';
import type { ExplainFacts } from './facts.ts';

/** The role as annotated on the pod or its ServiceAccount, and its ARN. */
export function roleLink(pod: PodRecord, resolution: ExplainFacts['resolution']): Link {
  const link = 'role';
  const account = `${pod.namespace}/${pod.serviceAccount}`;
  const isOfAccount = pod.role !== '' && pod.roleSource === 'service-account';
  const facts = {
    annotated: pod.role,
    arn: resolution?.ok === true ? resolution.role.arn : null,
    serviceAccount: isOfAccount ? account : null,
    ignored: pod.annotated.role === pod.role ? null : pod.annotated.role,
  };
  if (pod.role === '') return { link, verdict: 'no', text: whyNone(pod, account), facts };
  const annotated = `${quoted(pod.role)}${isOfAccount ? ` from the ServiceAccount ${account}` : ''}`;
  if (resolution === undefined) {
    return {
      link,
      verdict: 'unknown',
      text: `${annotated} is a short name: its ARN depends on --role-base-arn`,
      facts,
    };
  }
  if (!resolution.ok) return { link, verdict: 'no', text: `${annotated}: ${resolution.reason}`, facts };
  return { link, verdict: 'ok', text: `${annotated} is ${resolution.role.arn}`, facts };
}

function whyNone({ annotated, roleSource }: PodRecord, account: string): string {
  if (annotated.role === '' || roleSource === 'pod') return `it is annotated with no role (${ROLE_ANNOTATION})`;
  return `the ServiceAccount ${account} gives it none, and with --binding=serviceaccount its own annotation, ${quoted(annotated.role)}, does not count`;
}

/** By which way the pod's SDKs ask, and whether that leads here. */
export function wayLink({ asksBy, hostNetwork }: PodRecord, servesTokens: boolean | undefined): Link {
  const [verdict, text] = judgeWay(asksBy, hostNetwork, servesTokens);
  return { link: 'way', verdict, text, facts: { by: asksBy } };
}

function judgeWay(
  asksBy: AskingWay,
  hostNetwork: boolean,
  servesTokens: boolean | undefined,
): readonly [Link['verdict'], string] {
  if (asksBy === 'web identity') {
    return ['note', 'a container has AWS_WEB_IDENTITY_TOKEN_FILE: SDKs use web identity before this role'];
  }
  if (asksBy === 'another endpoint') {
    return ['note', 'a container has a variable AWS_CONTAINER_CREDENTIALS_*: SDKs ask there before this role'];
  }
  if (asksBy === 'container credentials') {
    const text = 'a container has AWS_CONTAINER_CREDENTIALS_FULL_URI: SDKs ask for container credentials';
    return servesTokens === true ? ['ok', text] : ['note', `${text}, which Kiam gives with --container-credentials`];
  }
  const text = 'SDKs ask the instance metadata: no container has a variable of another way';
  return hostNetwork ? ['no', `${text}, and this one serves no pod with hostNetwork`] : ['ok', text];
}

/** What the namespace permits. */
export function policyLink({ namespace, permitted, isList = false, decision }: ExplainFacts): Link {
  const link = 'policy';
  const facts = { permitted: permitted ?? null, allowed: decision?.allowed ?? null };
  const expression = `${quoted(permitted ?? '')} (${permittedAnnotation({ isList })} of namespace ${namespace})`;
  if (decision === undefined) {
    return { link, verdict: 'unknown', text: `whether ${expression} matches depends on the ARN of the role`, facts };
  }
  if (!decision.allowed) return { link, verdict: 'no', text: decision.explanation, facts };
  return { link, verdict: 'ok', text: `${expression} matches the ARN`, facts };
}

/** Who the pod is to STS. External ids are half secret: the link says that there is one, not its value. */
export function sessionLink(identity: Identity, { annotated }: PodRecord): Link {
  const { sessionName, externalId, attribution } = identity;
  const name = sessionNameOf(identity);
  const has = externalId !== '';
  const isChanged = attribution.sessionName === '' && name !== `kiam-${sessionName}`;
  const given = isChanged ? `${name} instead of ${quoted(`kiam-${sessionName}`)} (${SESSION_NAME_RULE})` : name;
  const tags = attribution.tags.map(([key, value]) => `${key}=${value}`);
  const parts = [
    given,
    has ? `with the external id ${MASK} (${EXTERNAL_ID_ANNOTATION})` : 'without an external id',
    ...(attribution.sourceIdentity === '' ? [] : [`with the source identity ${attribution.sourceIdentity}`]),
    ...(tags.length === 0 ? [] : [`with the ${passedOn(attribution)}tags ${tags.join(', ')}`]),
    ...(annotated.ignoredTag === '' ? [] : [ignored(annotated.ignoredTag)]),
  ];
  return {
    link: 'session',
    verdict: isChanged || annotated.ignoredTag !== '' ? 'note' : 'ok',
    text: parts.join(', '),
    facts: {
      name,
      externalId: has ? MASK : null,
      sourceIdentity: attribution.sourceIdentity === '' ? null : attribution.sourceIdentity,
      tags,
      transitiveTags: attribution.areTagsTransitive,
    },
  };
}

function passedOn({ areTagsTransitive }: Attribution): string {
  return areTagsTransitive ? 'transitive ' : '';
}

function ignored(key: string): string {
  return `without ${SESSION_TAG_PREFIX}${key}, which --allowed-session-tags does not list`;
}
