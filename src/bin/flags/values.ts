import { accessSync, constants, statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { RE2JS } from 're2js';
import { type HostInterface, parseHostInterface } from '#agent/interception/host-interface.ts';
import type { KiamVersion } from '#doctor/cluster/compare-kiam.ts';
import { canonicalAddress } from '#domain/address.ts';
import { isReservedKey } from '#domain/attribution.ts';
import { tagKeyProblem, tagValueProblem } from '#domain/iam-grammar.ts';
import { SESSION_TAG_PREFIX } from '#domain/service-account.ts';
import { type ListenAddress, parseListenAddress } from '#telemetry/listen-address.ts';
import { parseDuration } from '#runtime/duration.ts';
import type { Parsed, Parser } from './option.ts';

/** A host and a port to connect to. */
export interface ServerAddress {
  /** What is resolved, and the name that the certificate must have. */
  readonly host: string;
  readonly port: number;
  /** `host:port`. */
  readonly text: string;
}

export function anyText(text: string): Parsed<string> {
  return { ok: true, value: text };
}

export function parseName(text: string): Parsed<string> {
  return text === '' ? { ok: false, reason: 'is empty' } : { ok: true, value: text };
}

/** A Go duration in milliseconds, within bounds that are given as Go durations as well. */
export function duration(least: string, most: string): Parser<number, 'Ms'> {
  const leastMs = boundMs(least);
  const mostMs = boundMs(most);
  const parse = (text: string): Parsed<number> => {
    const valueMs = parseDuration(text);
    if (valueMs === undefined) return { ok: false, reason: 'is not a duration such as 300ms, 90s, 1m30s or 1.5h' };
    if (valueMs < leastMs) return { ok: false, reason: `is less than ${least}` };
    return valueMs > mostMs ? { ok: false, reason: `is more than ${most}` } : { ok: true, value: valueMs };
  };
  return Object.assign(parse, { unit: 'Ms' as const });
}

/** Any Go duration, also a negative one: for flags of Kiam's that have no effect here. */
export const anyDuration: Parser<number, 'Ms'> = duration('-2562047h47m', '2562047h47m');

/** A Go duration of any length, 0 among them. */
export const anyLength: Parser<number, 'Ms'> = duration('0s', '2562047h47m');

function boundMs(text: string): number {
  const valueMs = parseDuration(text);
  if (valueMs === undefined) throw new Error(`${text} is not a duration`);
  return valueMs;
}

export function integer(least: number, most: number): Parser<number> {
  return (text) => {
    const value = /^[+-]?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    return value >= least && value <= most
      ? { ok: true, value }
      : { ok: false, reason: `is not a whole number from ${least} to ${most}` };
  };
}

/** The major version of Kiam that a switch names; a switch alone means the last, 4. */
export function parseKiamVersion(text: string): Parsed<KiamVersion | undefined> {
  if (text === 'false') return { ok: true, value: undefined };
  if (text === '2' || text === '3') return { ok: true, value: 3 };
  return text === '4' || text === 'true' ? { ok: true, value: 4 } : { ok: false, reason: 'is none of 2, 3, 4' };
}

/** One of several words, each with the value that it stands for. */
export function choice<T extends string>(meanings: Readonly<Record<string, T>>): Parser<T> {
  return (text) => {
    const value = Object.hasOwn(meanings, text) ? meanings[text] : undefined;
    return value === undefined
      ? { ok: false, reason: `is none of ${Object.keys(meanings).join(', ')}` }
      : { ok: true, value };
  };
}

/** A file that can be read now. */
export function parseFile(text: string): Parsed<string> {
  try {
    if (!statSync(text).isFile()) return { ok: false, reason: 'is not a file' };
    accessSync(text, constants.R_OK);
    return { ok: true, value: text };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return {
      ok: false,
      reason: code === 'ENOENT' || text === '' ? 'does not exist' : `cannot be read (${String(code)})`,
    };
  }
}

/** An optional file: `''` is none. */
export function parseOptionalFile(text: string): Parsed<string> {
  return text === '' ? { ok: true, value: '' } : parseFile(text);
}

export function parseListen(text: string): Parsed<ListenAddress> {
  const parsed = parseListenAddress(text);
  return parsed.ok ? { ok: true, value: parsed.address } : parsed;
}

/** `''` is off, as in Kiam. */
export function parseOptionalListen(text: string): Parsed<ListenAddress | undefined> {
  return text === '' ? { ok: true, value: undefined } : parseListen(text);
}

/** `sun_path` has 108 bytes with the NUL at its end: https://man7.org/linux/man-pages/man7/unix.7.html */
const LONGEST_SOCKET_PATH = 107;

/** A file to be made; `''` is none. */
export function parseStartedFile(text: string): Parsed<string> {
  return text === '' || isAbsolute(text) ? { ok: true, value: text } : { ok: false, reason: 'is no absolute path' };
}

/** `off`, `-` or an absolute path. */
export function parseAuditTarget(text: string): Parsed<string> {
  if (text === 'off' || text === '-' || isAbsolute(text)) return { ok: true, value: text };
  return { ok: false, reason: 'is neither off, - nor an absolute path' };
}

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html: 16 to 128 letters, digits and underscores. */
export function parseAccessKeyId(text: string): Parsed<string> {
  return /^\w{16,128}$/.test(text) ? { ok: true, value: text } : { ok: false, reason: 'is no access key id' };
}

/** Files, separated by commas; `-` is standard input. */
export function parseFileList(text: string): Parsed<readonly string[]> {
  const files = text.split(',');
  return files.includes('') ? { ok: false, reason: 'has an empty name in it' } : { ok: true, value: files };
}

/** A date and a time with its zone, in milliseconds since the epoch. */
export function parseTime(text: string): Parsed<number> {
  const atMs = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  return Number.isNaN(atMs)
    ? { ok: false, reason: 'is no time such as 2026-01-02T15:04:05Z' }
    : { ok: true, value: atMs };
}

/** `''` is none. */
export function parseSocketPath(text: string): Parsed<string> {
  if (text === '') return { ok: true, value: '' };
  if (!isAbsolute(text)) return { ok: false, reason: 'is no absolute path' };
  return Buffer.byteLength(text) <= LONGEST_SOCKET_PATH
    ? { ok: true, value: text }
    : { ok: false, reason: `is longer than the ${LONGEST_SOCKET_PATH} bytes that a socket may have` };
}

export function parseServerAddress(text: string): Parsed<ServerAddress> {
  const parsed = parseListenAddress(text);
  if (!parsed.ok) return parsed;
  const { host, port } = parsed.address;
  if (host === '' || port === 0) return { ok: false, reason: 'is not of the form host:port' };
  return { ok: true, value: { host, port, text } };
}

/** `''` for all addresses, else one IP address. */
export function parseListenHost(text: string): Parsed<string> {
  if (text === '') return { ok: true, value: '' };
  const address = text === 'localhost' ? '127.0.0.1' : canonicalAddress(text);
  return address === undefined ? { ok: false, reason: 'is no IP address' } : { ok: true, value: address };
}

/** One or more IP addresses, separated by commas: `status.hostIP` or `status.podIPs` of the agent's pod. */
export function parseAddressList(text: string): Parsed<readonly string[]> {
  const addresses = new Set<string>();
  for (const part of text.split(',')) {
    const address = canonicalAddress(part.trim());
    if (address === undefined) return { ok: false, reason: 'is not a list of IP addresses' };
    addresses.add(address);
  }
  return { ok: true, value: [...addresses] };
}

/**
 * As {@link parseAddressList}; any other text is a list of that text alone. Kiam takes any, and looks at it with `--iptables`
 * alone (`cmd/kiam/agent.go`).
 */
export function parseHost(text: string): Parsed<readonly string[]> {
  const list = parseAddressList(text);
  return list.ok ? list : { ok: true, value: [text] };
}

/** The argument of iptables' `-i`. */
export function parseInterface(text: string): Parsed<HostInterface> {
  const parsed = parseHostInterface(text);
  return parsed.ok
    ? { ok: true, value: parsed.hostInterface }
    : { ok: false, reason: `is no interface such as docker0, cali+ or !eth0: ${parsed.reason}` };
}

/**
 * `system:serviceaccount:<namespace>:<name>`:
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens
 */
export function parseServiceAccount(text: string): Parsed<string> {
  return /^system:serviceaccount:[a-z0-9]([a-z0-9-]*[a-z0-9])?:[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(text)
    ? { ok: true, value: text }
    : { ok: false, reason: 'is not of the form system:serviceaccount:kube-system:kiam-agent' };
}

/** An RE2 expression: what Kiam's Go compiles. */
export function parseExpression(text: string): Parsed<string> {
  try {
    RE2JS.compile(text);
    return { ok: true, value: text };
  } catch (error) {
    return {
      ok: false,
      reason: `is no RE2 expression: ${error instanceof Error ? error.message : 'it does not compile'}`,
    };
  }
}

/** `http://host[:port]` and nothing more: the metadata service has no TLS. The value has no slash at the end. */
export function parseHttpOrigin(text: string): Parsed<string> {
  const url = URL.parse(text);
  if (url === null || url.protocol !== 'http:') return { ok: false, reason: 'is no http:// URL' };
  if (url.href !== `${url.origin}/`) return { ok: false, reason: 'has more than a host and a port' };
  return { ok: true, value: url.origin };
}

/** The prefix of short role names. Kiam prepends it unchanged, so it must reach at least `:role/`; a path may follow. */
export function parseRoleBaseArn(text: string): Parsed<string> {
  return /^arn:[a-z0-9-]+:iam::\d+:role\/[\x21-\x7e]*$/.test(text)
    ? { ok: true, value: text }
    : { ok: false, reason: 'is not of the form arn:aws:iam::123456789012:role/' };
}

/** A role's ARN or short name; `''` is none. */
export function parseAssumedRole(text: string): Parsed<string> {
  return !text.startsWith('arn:') || /^arn:[a-z0-9-]+:iam::\d+:role\/[\x21-\x7e]+$/.test(text)
    ? { ok: true, value: text }
    : { ok: false, reason: 'is not the ARN of a role' };
}

/** `''` is the global endpoint. The text becomes part of a host name. */
export function parseRegion(text: string): Parsed<string> {
  return text === '' || /^[a-z]{2,}(-[a-z0-9]+)+$/.test(text)
    ? { ok: true, value: text }
    : { ok: false, reason: 'is not the name of a region such as eu-west-1' };
}

/** https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html */
export function parseClusterName(text: string): Parsed<string> {
  return /^[0-9A-Za-z][\w-]{0,99}$/.test(text)
    ? { ok: true, value: text }
    : { ok: false, reason: 'is not the name of an EKS cluster' };
}

/** The value of a session tag; `''` is none. */
export function parseTagValue(text: string): Parsed<string> {
  const problem = tagValueProblem(text);
  return problem === undefined
    ? { ok: true, value: text }
    : { ok: false, reason: `cannot be a session tag: ${problem}` };
}

/** STS takes 50 tags, of which six say whose the session is. */
const MOST_ALLOWED_TAGS = 44;

/** A name of Kubernetes has 63 characters: https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/ */
const LONGEST_ANNOTATED_KEY = 63 - SESSION_TAG_PREFIX.slice(SESSION_TAG_PREFIX.indexOf('/') + 1).length;

/** Keys that can be annotated, each once, whatever its case, and none of those that say whose the session is. */
export function parseTagKeys(text: string): Parsed<readonly string[]> {
  if (text === '') return { ok: true, value: [] };
  const keys = text.split(',');
  const reserved = keys.find(isReservedKey);
  if (reserved !== undefined) return { ok: false, reason: `has ${reserved} in it, which only the server sets` };
  const wrong = keys.find(
    (key) =>
      !/^[\w.-]*[0-9A-Za-z]$/.test(key) || key.length > LONGEST_ANNOTATED_KEY || tagKeyProblem(key) !== undefined,
  );
  if (wrong !== undefined) {
    const rule = `at most ${LONGEST_ANNOTATED_KEY} letters, digits and ._-, with a letter or a digit at the end`;
    return { ok: false, reason: `has ${JSON.stringify(wrong)} in it, which cannot be annotated: a key has ${rule}` };
  }
  if (keys.length > MOST_ALLOWED_TAGS) return { ok: false, reason: `has more than ${MOST_ALLOWED_TAGS} keys` };
  return new Set(keys.map((key) => key.toLowerCase())).size < keys.length
    ? { ok: false, reason: 'has a key twice: AWS takes keys that differ in case alone for one' }
    : { ok: true, value: keys };
}

/** What follows `https://` becomes part of an ARN and of keys of a policy; `''` is none. */
export function parseIssuer(text: string): Parsed<string> {
  return text === '' || /^https:\/\/[\w.-]+(\/[\w.-]+)*$/.test(text)
    ? { ok: true, value: text }
    : { ok: false, reason: 'is not a URL such as https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF' };
}

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names */
export function parseNamespace(text: string): Parsed<string> {
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text)
    ? { ok: true, value: text }
    : { ok: false, reason: 'is no name of a namespace' };
}

/** DNS names and IP addresses, separated by commas. */
export function parseNameList(text: string): Parsed<readonly string[]> {
  const names = text.split(',').filter((name) => name !== '');
  const wrong = names.find((name) => canonicalAddress(name) === undefined && !isDnsName(name));
  return wrong === undefined
    ? { ok: true, value: names.map((name) => canonicalAddress(name) ?? name) }
    : { ok: false, reason: 'is not a list of DNS names and IP addresses' };
}

/** RFC 1035, 2.3.1; a `*` may stand for the first label. */
function isDnsName(name: string): boolean {
  return /^(?=.{1,253}$)(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/.test(
    name,
  );
}

export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ */
const POD = /^([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\/([a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?)$/;

export function parsePodName(text: string): Parsed<PodName> {
  const [, namespace, name] = POD.exec(text) ?? [];
  return namespace === undefined || name === undefined
    ? { ok: false, reason: 'is not of the form NAMESPACE/POD' }
    : { ok: true, value: { namespace, name } };
}
