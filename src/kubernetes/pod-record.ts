import { canonicalAddress } from '#domain/address.ts';
import {
  EXTERNAL_ID_ANNOTATION,
  MIRROR_ANNOTATION,
  ROLE_ANNOTATION,
  SESSION_NAME_ANNOTATION,
  type PodRecord,
} from '#domain/pod.ts';
import { createInterner, createListInterner } from './interner.ts';
import { field, listField, textField } from './json-fields.ts';

/**
 * Annotations may have 256 KiB. Of each, more is kept than AWS takes, so that what is too long is still refused for its
 * length and never cut into something that means another thing: a role of over 2048 characters is refused by `resolveRole`,
 * an external id of over 1224 by STS, and only the first 63 bytes of a session name are ever sent.
 */
const KEPT_OF_ROLE = 2050;
const KEPT_OF_SESSION_NAME = 128;
const KEPT_OF_EXTERNAL_ID = 1225;

/** A dual-stack pod has two (https://kubernetes.io/docs/concepts/services-networking/dual-stack/). */
const MOST_ADDRESSES = 8;

/**
 * Makes the reader of pods as the API server sends them. It returns undefined only for what has no UID, name or namespace;
 * anything else that is missing or of a wrong type is read in the way that gives the pod less, not more.
 */
export function createPodParser(): (value: unknown) => PodRecord | undefined {
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
    return {
      uid,
      namespace: intern(namespace),
      name,
      addresses: addressesOf(status, 'podIPs', 'podIP'),
      nodeName: intern(textField(spec, 'nodeName')),
      hostIps: internList(addressesOf(status, 'hostIPs', 'hostIP')),
      phase: intern(textField(status, 'phase').slice(0, 64)),
      hostNetwork: isSet(field(spec, 'hostNetwork')),
      mirror: field(annotations, MIRROR_ANNOTATION) !== undefined,
      terminating: isSet(field(metadata, 'deletionTimestamp')),
      resourceVersion: textField(metadata, 'resourceVersion'),
      role: intern(textField(annotations, ROLE_ANNOTATION).slice(0, KEPT_OF_ROLE)),
      sessionName: intern(textField(annotations, SESSION_NAME_ANNOTATION).slice(0, KEPT_OF_SESSION_NAME)),
      externalId: intern(textField(annotations, EXTERNAL_ID_ANNOTATION).slice(0, KEPT_OF_EXTERNAL_ID)),
    };
  };
}

/** Whether two records of a pod differ in anything but the resource version, which moves with every condition and heartbeat. */
export function podsDiffer(left: PodRecord, right: PodRecord): boolean {
  return (
    left.phase !== right.phase ||
    left.role !== right.role ||
    left.sessionName !== right.sessionName ||
    left.externalId !== right.externalId ||
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
function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false && value !== '';
}
