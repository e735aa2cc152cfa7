import type { AllowedRolesFormat } from '#domain/allowed-roles.ts';
import { canonicalAddress } from '#domain/address.ts';
import { parseHostAddresses } from '#agent/interception/host-addresses.ts';
import type { LogLevel } from '#telemetry/logger.ts';
import { POD_LIMIT_OPTIONS } from './pod-limits.ts';
import { type FlagsOf, optional, type Parsed, type Parser, toggle, value } from './option.ts';
import {
  anyText,
  choice,
  duration,
  integer,
  parseExpression,
  parseHttpOrigin,
  parseInterface,
  parseName,
  parseOptionalFile,
} from './values.ts';

const LOG = 'Logs';
const SERVICE = 'Metadata API';
const INTERCEPTION = 'Interception';
const KUBERNETES = 'Kubernetes';
const ROLES = 'Roles';
const NAMESPACES = 'Namespaces';

/** The log levels of logrus that pino has too. */
const LEVELS = inAnyCase(
  choice<LogLevel>({
    trace: 'debug',
    debug: 'debug',
    info: 'info',
    warn: 'warn',
    warning: 'warn',
    error: 'error',
    fatal: 'error',
    panic: 'error',
  }),
);

const FORMATS = inAnyCase(choice<AllowedRolesFormat>({ glob: 'glob', regexp: 'regexp' }));

/** kube2iam ignores case here. */
function inAnyCase<T>(parse: Parser<T>): Parser<T> {
  return (text) => parse(text.toLowerCase());
}

function parseMetadataAddress(text: string): Parsed<string> {
  return parseHttpOrigin(`http://${text}`);
}

/** kube2iam's own expression for a base ARN. A slash is appended if there is none. */
function parseBaseArn(text: string): Parsed<string> {
  if (text === '') return { ok: true, value: '' };
  return /^arn:[\w-]*:iam::\d+:role\/?[\w\-/.]*$/.test(text)
    ? { ok: true, value: text.endsWith('/') ? text : `${text}/` }
    : { ok: false, reason: 'is not of the form arn:aws:iam::123456789012:role/' };
}

function parseHostIp(text: string): Parsed<string> {
  const address = text === '' ? '' : canonicalAddress(text);
  return address === undefined ? { ok: false, reason: 'is no IP address' } : { ok: true, value: address };
}

const NO_EFFECT = "Accepted for kube2iam's sake, has no effect:";

/** kube2iam's flags (jtblin/kube2iam, `cmd/main.go`) with its defaults, and three of ours. */
export const KUBE2IAM_OPTIONS = {
  'app-port': value(SERVICE, integer(0, 65_535), '8181', "HTTP port for pods' requests"),
  'metrics-port': optional(SERVICE, integer(0, 65_535), 'that of --app-port', 'HTTP port that serves /metrics'),
  'metadata-addr': value(SERVICE, parseMetadataAddress, '169.254.169.254', 'host[:port] of the real metadata service'),
  'allow-route-regexp': value(
    SERVICE,
    parseExpression,
    '.*',
    'Which other metadata paths are proxied, as for kiam agent; kube2iam proxies all of them. ' +
      'Paths below iam/ and identity-credentials/ are never proxied',
  ),
  ...POD_LIMIT_OPTIONS,
  debug: toggle(SERVICE, 'Show at /debug/store the roles of pods and namespaces, to every pod of the node'),
  'host-ip': value(INTERCEPTION, parseHostIp, '', 'IP address of the node, the target of the redirect'),
  'host-interface': value(INTERCEPTION, parseInterface, 'docker0', 'Interface whose packets are redirected'),
  iptables: toggle(INTERCEPTION, 'Keep the redirect in place, and the guard; needs --host-ip'),
  node: value(KUBERNETES, anyText, '', 'Name of this node, whose pods are served; empty for those of all nodes'),
  kubeconfig: value(KUBERNETES, parseOptionalFile, '', 'File that says how to reach the API server'),
  'api-server': value(KUBERNETES, anyText, '', 'URL of the API server, with --api-token; empty inside a cluster'),
  'api-token': value(KUBERNETES, anyText, '', 'Token for it'),
  insecure: toggle(KUBERNETES, 'Do not verify the certificate of the API server'),
  'backoff-max-elapsed-time': value(
    KUBERNETES,
    duration('0s', '1m'),
    '2s',
    'How long a request waits for its pod to become known',
  ),
  'backoff-max-interval': value(
    KUBERNETES,
    duration('0s', '24h'),
    '1s',
    `${NO_EFFECT} the watch wakes the request that waits`,
  ),
  'cache-resync-period': value(KUBERNETES, duration('0s', '8760h'), '30m', `${NO_EFFECT} the watch misses nothing`),
  'resolve-duplicate-cache-ips': toggle(KUBERNETES, `${NO_EFFECT} the API server confirms each pod's address anyway`),
  'base-role-arn': value(ROLES, parseBaseArn, '', 'Prefix of short role names: arn:aws:iam::123456789012:role/'),
  'auto-discover-base-arn': toggle(ROLES, 'Read the prefix from the instance profile of the node'),
  'default-role': value(ROLES, anyText, '', 'Role of pods without the annotation, in every namespace'),
  'auto-discover-default-role': toggle(ROLES, 'Use the role of the node as the default, and its prefix'),
  'iam-role-key': value(ROLES, parseName, 'iam.amazonaws.com/role', "Annotation with a pod's role"),
  'iam-external-id': value(ROLES, parseName, 'iam.amazonaws.com/external-id', "Annotation with a pod's external id"),
  'iam-role-session-ttl': value(
    ROLES,
    duration('7m30s', '6h'),
    '15m',
    'How long credentials are served before others replace them; they last twice as long',
  ),
  'iam-role-error-ttl': value(
    ROLES,
    duration('0s', '24h'),
    '0s',
    `${NO_EFFECT} failures are remembered by what they mean`,
  ),
  'use-regional-sts-endpoint': toggle(ROLES, `${NO_EFFECT} the endpoint is that of AWS_REGION wherever that is set`),
  'namespace-restrictions': toggle(
    NAMESPACES,
    'Allow a namespace the roles of its annotation and the default role only',
  ),
  'namespace-restriction-format': value(NAMESPACES, FORMATS, 'glob', 'How its entries are read: glob or regexp'),
  'namespace-key': value(
    NAMESPACES,
    parseName,
    'iam.amazonaws.com/allowed-roles',
    'Annotation with the roles of a namespace, a JSON list',
  ),
  'log-format': value(LOG, inAnyCase(choice<'text' | 'json'>({ text: 'text', json: 'json' })), 'text', 'text or json'),
  'log-level': value(LOG, LEVELS, 'info', 'trace, debug, info, warn, error, fatal or panic'),
  verbose: toggle(LOG, 'As --log-level=debug'),
};

export type Kube2iamFlags = FlagsOf<typeof KUBE2IAM_OPTIONS>;

/** Problems of flags that do not go together, one line each. */
export function kube2iamProblems(flags: Kube2iamFlags): string[] {
  const problems: string[] = [];
  if (flags.autoDiscoverBaseArn && flags.baseRoleArn !== '') {
    problems.push('--auto-discover-base-arn cannot be used if --base-role-arn is specified');
  }
  if (flags.autoDiscoverDefaultRole && flags.defaultRole !== '') {
    problems.push('--default-role and --auto-discover-default-role cannot be used at the same time');
  }
  if (flags.iptables) {
    const targets = flags.hostIp === '' ? undefined : parseHostAddresses(flags.hostIp);
    if (targets === undefined) problems.push('--iptables needs --host-ip');
    else if (!targets.ok) problems.push(`--iptables cannot redirect to this --host-ip: ${targets.reason}`);
    if (flags.appPort === 0) problems.push('--iptables needs an --app-port to redirect to, not 0');
  }
  return problems;
}
