import { canonicalAddress } from '#domain/address.ts';
import { LONGEST_EXTERNAL_ID, LONGEST_ROLE_ARN } from '#domain/iam-grammar.ts';
import {
  EXTERNAL_ID_ANNOTATION,
  MIRROR_ANNOTATION,
  ROLE_ANNOTATION,
  SESSION_NAME_ANNOTATION,
  type AskingWay,
  type PodAnnotations,
  type PodRecord,
} from '#domain/pod.ts';
import { tagsDiffer } from '#domain/service-account.ts';
import { beginningOf } from '#runtime/text.ts';
import { createInterner, createListInterner, type Intern } from './interner.ts';
import { field, listField, textField } from './json-fields.ts';
import { NO_TAGS, sessionTagsIn } from './session-tags.ts';

/**
 * Annotations may have 256 KiB, and ten thousand pods must not keep that. A value is kept whole or not at all: a role or an
 * external id that is longer than AWS accepts is replaced by a text that is refused for its length, whatever the rest of it
 * says. The exception is the session name, of which Kiam itself sends no more than the first 63 bytes
 * (`domain/session-name.ts`): so many characters as that can hold are kept.
 */
export const TOO_LONG_FOR_A_ROLE = '(too long) '.repeat(190);
const TOO_LONG_FOR_AN_EXTERNAL_ID = '(too long) '.repeat(115);
const KEPT_OF_SESSION_NAME = 128;

/** No phase of Kubernetes is longer: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase */
const LONGEST_PHASE = 64;

/** A dual-stack pod has two (https://kubernetes.io/docs/concepts/services-networking/dual-stack/). */
const MOST_ADDRESSES = 8;

/** Which annotations of a pod count. */
export interface PodKeys {
  readonly role: string;
  /** `''` for none. */
  readonly sessionName: string;
  readonly externalId: string;
  /** The pod's role, given the annotation; undefined for a pod that has none. */
  readonly roleOf: (annotated: string | undefined) => string;
}

const KIAM_KEYS: PodKeys = {
  role: ROLE_ANNOTATION,
  sessionName: SESSION_NAME_ANNOTATION,
  externalId: EXTERNAL_ID_ANNOTATION,
  roleOf: (annotated = '') => annotated,
};

/**
 * Makes the reader of pods as the API server sends them, with those of their session tags that are allowed. It returns
 * undefined only for what has no UID, name or namespace; anything else that is missing or of a wrong type is read in the way
 * that gives the pod less, not more.
 */
export function createPodParser(
  allowedTags: readonly string[] = [],
  keys: PodKeys = KIAM_KEYS,
): (value: unknown) => PodRecord | undefined {
  const intern = createInterner();
  const internList = createListInterner();
  return (value) => {
    const metadata = field(value, 'metadata');
    const annotations = field(metadata, 'annotations');
    const spec = field(value, 'spec');
    const status = field(value, 'status');
    const uid = textField(metadata, 'uid');
    const name = textField(metadata, 'name');
    const namespace = textField(metadata, 'namespace');
    if (uid === '' || name === '' || namespace === '') return undefined;
    const annotated = annotationsOf(annotations, { keys, allowedTags, intern });
    const isAnnotated = typeof field(annotations, keys.role) === 'string';
    return {
      uid,
      namespace: intern(namespace),
      name,
      addresses: addressesOf(status, 'podIPs', 'podIP'),
      nodeName: intern(textField(spec, 'nodeName')),
      hostIps: internList(addressesOf(status, 'hostIPs', 'hostIP')),
      phase: intern(wholeOr('Unknown', textField(status, 'phase'), LONGEST_PHASE)),
      hostNetwork: isTruthy(field(spec, 'hostNetwork')),
      mirror: field(annotations, MIRROR_ANNOTATION) !== undefined,
      terminating: isTruthy(field(metadata, 'deletionTimestamp')),
      resourceVersion: textField(metadata, 'resourceVersion'),
      serviceAccount: intern(textField(spec, 'serviceAccountName')),
      serviceAccountUid: '',
      sessionName: annotated.sessionName,
      externalId: annotated.externalId,
      sessionTags: annotated.sessionTags,
      role: intern(keys.roleOf(isAnnotated ? annotated.role : undefined)),
      roleSource: 'pod',
      annotated,
      asksBy: askingWayOf(spec),
    };
  };
}

/** Most pods have none of the annotations, and share one record of that. */
const NO_ANNOTATIONS: PodAnnotations = { role: '', sessionName: '', externalId: '', ...NO_TAGS };

function annotationsOf(
  annotations: unknown,
  { keys, allowedTags, intern }: { keys: PodKeys; allowedTags: readonly string[]; intern: Intern },
): PodAnnotations {
  const role = intern(wholeOr(TOO_LONG_FOR_A_ROLE, textField(annotations, keys.role), LONGEST_ROLE_ARN));
  const sessionName = intern(beginningOf(textField(annotations, keys.sessionName), KEPT_OF_SESSION_NAME));
  const externalId = intern(
    wholeOr(TOO_LONG_FOR_AN_EXTERNAL_ID, textField(annotations, keys.externalId), LONGEST_EXTERNAL_ID),
  );
  const tags = sessionTagsIn(annotations, allowedTags);
  const isPlain = role === '' && sessionName === '' && externalId === '' && tags === NO_TAGS;
  return isPlain ? NO_ANNOTATIONS : { role, sessionName, externalId, ...tags };
}

/** The addresses of docs/container-credentials.md. */
const CONTAINER_CREDENTIALS = /^http:\/\/(?:169\.254\.170\.23|\[fd00:ec2::23\])(?::80)?\/v1\/credentials$/;

/**
 * The order is that of the SDKs (https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html). The first
 * variable is set by the webhook of EKS (https://github.com/aws/amazon-eks-pod-identity-webhook) or by hand.
 */
function askingWayOf(spec: unknown): AskingWay {
  const variables = listField(spec, 'containers').flatMap((container) => listField(container, 'env'));
  const values = (name: string): string[] =>
    variables
      .filter((variable) => textField(variable, 'name') === name)
      .map((variable) => textField(variable, 'value'));
  if (values('AWS_WEB_IDENTITY_TOKEN_FILE').length > 0) return 'web identity';
  const endpoints = values('AWS_CONTAINER_CREDENTIALS_FULL_URI');
  if (endpoints.some((endpoint) => CONTAINER_CREDENTIALS.test(endpoint))) return 'container credentials';
  const others = endpoints.length + values('AWS_CONTAINER_CREDENTIALS_RELATIVE_URI').length;
  return others > 0 ? 'another endpoint' : 'instance metadata';
}

export function wholeOr(replacement: string, text: string, mostUnits: number): string {
  return text.length > mostUnits ? replacement : text;
}

/** Whether two records of a pod differ in anything but the resource version, which moves with every condition and heartbeat. */
export function podsDiffer(left: PodRecord, right: PodRecord): boolean {
  return (
    left.phase !== right.phase ||
    left.role !== right.role ||
    left.roleSource !== right.roleSource ||
    left.serviceAccount !== right.serviceAccount ||
    left.serviceAccountUid !== right.serviceAccountUid ||
    left.sessionName !== right.sessionName ||
    left.externalId !== right.externalId ||
    tagsDiffer(left.sessionTags, right.sessionTags) ||
    left.terminating !== right.terminating ||
    left.nodeName !== right.nodeName ||
    left.hostNetwork !== right.hostNetwork ||
    left.mirror !== right.mirror ||
    left.name !== right.name ||
    left.namespace !== right.namespace ||
    listsDiffer(left.hostIps, right.hostIps) ||
    listsDiffer(left.addresses, right.addresses)
  );
}

function listsDiffer(left: readonly string[], right: readonly string[]): boolean {
  return left !== right && (left.length !== right.length || left.some((text, index) => text !== right[index]));
}

/** The addresses of the list and the one beside it, which older kubelets set alone. */
function addressesOf(status: unknown, list: string, single: string): readonly string[] {
  const addresses: string[] = [];
  const add = (text: string): void => {
    const address = canonicalAddress(text);
    if (address !== undefined && !addresses.includes(address)) addresses.push(address);
  };
  for (const entry of listField(status, list).slice(0, MOST_ADDRESSES)) add(textField(entry, 'ip'));
  add(textField(status, single));
  return addresses;
}

/** True for anything that says yes or that makes no sense: both marks take something from a pod. */
function isTruthy(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false && value !== '';
}
