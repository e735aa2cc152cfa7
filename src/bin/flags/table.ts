import type { AllowedRolesFormat } from '#domain/allowed-roles.ts';
import type { TagMode } from '#domain/attribution.ts';
import { parseNameTemplate } from '#domain/name-template.ts';
import type { AgentIdentityMode } from '#server/agent-scope.ts';
import type { Binding } from '#domain/service-account.ts';
import type { LogLevel } from '#telemetry/logger.ts';
import { KUBE2IAM_OPTIONS } from './kube2iam.ts';
import { POD_LIMIT_OPTIONS } from './pod-limits.ts';
import { argument, type Option, optional, required, switchWithValue, toggle, value } from './option.ts';
import {
  anyDuration,
  anyLength,
  anyText,
  choice,
  duration,
  integer,
  parseAccessKeyId,
  parseAssumedRole,
  parseClusterName,
  parseAuditTarget,
  parseExpression,
  parseFileList,
  parseFile,
  parseHost,
  parseHttpOrigin,
  parseInterface,
  parseIssuer,
  parseKiamVersion,
  parseListen,
  parseListenHost,
  parseName,
  parseNameList,
  parseNamespace,
  parseOptionalFile,
  parseOptionalListen,
  parsePodName,
  parseRegion,
  parseRoleBaseArn,
  parseServerAddress,
  parseServiceAccount,
  parseSocketPath,
  parseStartedFile,
  parseTagKeys,
  parseTagValue,
  parseTime,
} from './values.ts';

/*
 * Every flag of every command, once. The name of a flag, its type, its default and its text stand here and nowhere else: the
 * help, docs/flags.md (`npm run docs`) and the object that a command gets (`FlagsOf`) derive from it.
 */

const LOG = 'Logs';
const LEVELS = choice<LogLevel>({ debug: 'debug', info: 'info', warn: 'warn', warning: 'warn', error: 'error' });

export const LOG_OPTIONS = {
  'json-log': toggle(LOG, 'Write log lines as JSON instead of text, on standard error'),
  level: value(LOG, LEVELS, 'info', 'debug, info, warn or error'),
};

const TLS = 'TLS';

export const TLS_OPTIONS = {
  cert: required(TLS, parseFile, '', "PEM file of this program's own certificate; a changed file is read again"),
  key: required(TLS, parseFile, '', 'PEM file of its private key; a changed file is read again'),
  ca: required(TLS, parseFile, '', "PEM file of the authorities that must have issued the other side's certificate"),
};

const GRPC = 'gRPC';
const NO_REFRESH = 'has no effect: the name is resolved again whenever a connection is lost';

export const KEEPALIVE_OPTIONS = {
  'grpc-keepalive-time-duration': value(
    GRPC,
    anyLength,
    '10s',
    'Ping a connection after it was quiet for this long; 0s as in gRPC for Go: 2h in a server, 10s elsewhere',
  ),
  'grpc-keepalive-timeout-duration': value(
    GRPC,
    anyLength,
    '2s',
    'Close it when the ping is not answered in this time; 0s as in gRPC for Go: 20s',
  ),
};

export const GATEWAY_OPTIONS = {
  'server-address': value(
    GRPC,
    parseServerAddress,
    'localhost:9610',
    "host:port of the server; its certificate must have the host's name, and every address of the host is used",
  ),
  'server-address-refresh': value(GRPC, anyDuration, '0s', `Deprecated, ${NO_REFRESH}`, {
    deprecated: `is deprecated and ${NO_REFRESH}`,
  }),
  'gateway-timeout-creation': value(
    GRPC,
    duration('1ms', '24h'),
    '1s',
    'How long the first connection to a server may take; the agent keeps running without one and is not ready',
  ),
  'grpc-keepalive-permit-without-stream': toggle(GRPC, 'Ping also while no call is in progress'),
};

const MONITORING = 'Monitoring';

export const MONITORING_OPTIONS = {
  'prometheus-listen-addr': optional(
    MONITORING,
    parseOptionalListen,
    'off',
    'host:port that serves /metrics, /live and /ready, such as localhost:9620',
  ),
  'prometheus-sync-interval': value(
    MONITORING,
    anyDuration,
    '5s',
    "Accepted for Kiam's sake, has no effect: metrics are always current",
  ),
  'pprof-listen-addr': optional(
    MONITORING,
    parseOptionalListen,
    'off',
    "host:port that serves /debug/pprof/profile?seconds=N and /debug/pprof/heap for Chrome's developer tools; a loopback address, else nothing listens",
  ),
  'pprof-allow-remote': toggle(
    MONITORING,
    'Let --pprof-listen-addr be any address: whoever reaches it can slow this program down',
  ),
};

const ADMIN_SOCKET = optional(
  MONITORING,
  parseSocketPath,
  '/dev/shm/kiam-<user>/<process>.sock',
  'Unix socket on which the server answers kiam explain, kiam status and kiam whois; empty for none',
);

const METADATA = 'Metadata API';

const METADATA_ENDPOINT = value(METADATA, parseHttpOrigin, 'http://169.254.169.254', 'The real metadata service');

const CONTAINER = 'Container credentials';

const TOKEN_AUDIENCE = value(
  CONTAINER,
  parseName,
  'pods.eks.amazonaws.com',
  'Audience that the tokens of pods must be for',
);

const INTERCEPTION = 'Interception';
const NODE = 'Node store';

export const AGENT_OPTIONS = {
  port: value(METADATA, integer(0, 65_535), '3100', "HTTP port for pods' requests"),
  'listen-address': value(METADATA, parseListenHost, '', 'IP address to listen on; empty for all'),
  'started-file': value(
    METADATA,
    parseStartedFile,
    '',
    'File that is there while pods are answered, for a startup probe: a port may also be answered by the agent before',
  ),
  'allow-route-regexp': value(
    METADATA,
    parseExpression,
    '^$',
    'Which other metadata paths are proxied: an RE2 expression, searched for in the canonical path; ' +
      'paths below iam/ and identity-credentials/ are never proxied',
  ),
  'allow-ip-query': toggle(
    METADATA,
    "Let ?ip= stand for the client's address; for development, refused unless listening on loopback",
  ),
  'metadata-endpoint': METADATA_ENDPOINT,
  'require-imdsv2': toggle(METADATA, 'Answer only requests with a token that this agent issued'),
  'audit-log': value(
    METADATA,
    parseAuditTarget,
    'off',
    'Write one JSON line per pod and access key id when it is first served, without any secret: to a file, - for standard output, or off',
  ),
  wait: optional(
    METADATA,
    duration('0s', '1m'),
    'what the client can bear, 5s at most',
    'The longest that a request waits for its pod to become known (docs/clients.md)',
  ),
  'container-credentials': toggle(
    CONTAINER,
    'Serve GET /v1/credentials as EKS Pod Identity does, for pods with a projected token; the servers need the flag too',
  ),
  'container-credentials-port': value(CONTAINER, integer(0, 65_535), '3101', 'HTTP port for these requests'),
  'container-credentials-audience': TOKEN_AUDIENCE,
  iptables: toggle(INTERCEPTION, 'Keep the redirect and the guard in place'),
  host: required<readonly string[]>(
    INTERCEPTION,
    parseHost,
    [],
    'IP address of the node, the target of the redirect; a comma-separated list where it has IPv4 and IPv6 [env HOST_IP]. ' +
      'Without --iptables any text, which has no effect',
    { environmentVariable: 'HOST_IP' },
  ),
  'host-interface': value(
    INTERCEPTION,
    parseInterface,
    'docker0',
    'Interface whose packets are redirected: cali+ for every cali..., !eth0 for all but eth0, + for all',
  ),
  'guard-interface': value(
    INTERCEPTION,
    parseInterface,
    '+',
    'Interface whose packets the guard rejects when they are forwarded to the metadata service; + for all. ' +
      'Narrow it only where something other than a pod must reach the service through the node',
  ),
  'iptables-remove': toggle(INTERCEPTION, 'Remove the redirect at exit'),
  'iptables-remove-guard': toggle(
    INTERCEPTION,
    'Remove the guard at exit as well: pods then reach the identity of the node',
  ),
  'guard-only': toggle(INTERCEPTION, 'Install the guard and exit, for an init container; needs no certificate'),
  uninstall: toggle(
    INTERCEPTION,
    'Remove redirect, guard and backstop and exit; needs no certificate. Pods then reach the identity of the node. ' +
      'The redirect is the one to --host, or to any address of the node, and --port',
  ),
  ...POD_LIMIT_OPTIONS,
  'node-store': toggle(NODE, "Have the server send what this node's pods may have, and answer from memory", {
    absent: true,
  }),
  'serve-stale': value(
    NODE,
    duration('0s', '12h'),
    '30s',
    'How long to answer from memory after the server is lost; 0s for not at all',
  ),
  'agent-token-file': optional(
    NODE,
    parseName,
    undefined,
    "Projected service account token that proves this agent's node to a server with --agent-identity=token",
  ),
  ...GATEWAY_OPTIONS,
  ...KEEPALIVE_OPTIONS,
  ...LOG_OPTIONS,
  ...TLS_OPTIONS,
  ...MONITORING_OPTIONS,
};

const KUBERNETES = 'Kubernetes';
const NODES = 'Readiness of nodes';
const AWS = 'AWS';

const ROLE_BASE_ARN = {
  ...optional(AWS, parseRoleBaseArn, undefined, 'Prefix of short role names: arn:aws:iam::123456789012:role/'),
  isEmptyAbsent: true,
} as const;
const SESSION = value(AWS, parseName, 'kiam', 'Session name of pods that annotate none');

const SESSIONS = 'Sessions at STS';

const SESSION_TAGS = value(
  SESSIONS,
  choice<TagMode>({ off: 'off', workload: 'workload', pod: 'pod' }),
  'off',
  'Which tags sessions have, with the keys of EKS Pod Identity: off; workload: cluster, namespace and ServiceAccount; ' +
    "pod: the pod's name and UID as well, so that each pod has a session of its own",
);
const ALLOWED_SESSION_TAGS = value(
  SESSIONS,
  parseTagKeys,
  '',
  'Keys, separated by commas, that pods and ServiceAccounts may set by annotations iam.amazonaws.com/session-tag.KEY; ' +
    "a ServiceAccount's goes before its pods'",
);

/** Names and tags of sessions, in addition to `--session`. */
export const SESSION_OPTIONS = {
  'session-name': optional(
    SESSIONS,
    parseNameTemplate,
    'kiam- and what the pod annotates, or --session',
    'Name of sessions, such as {namespace}.{serviceAccount}; also {pod}, {uid}, {cluster} and {sessionName}, which is ' +
      'what the pod annotates or --session. What does not fit is cut and ends in a hash',
  ),
  'source-identity': optional(
    SESSIONS,
    parseNameTemplate,
    'none',
    'SourceIdentity of sessions, a template like --session-name; the policies of server and roles need sts:SetSourceIdentity',
  ),
  'session-tags': SESSION_TAGS,
  'cluster-name': value(
    SESSIONS,
    parseTagValue,
    '',
    'Value of the tag eks-cluster-name and of {cluster}; empty for no such tag',
  ),
  'cluster-arn': value(SESSIONS, parseTagValue, '', 'Value of the tag eks-cluster-arn; empty for no such tag'),
  'allowed-session-tags': ALLOWED_SESSION_TAGS,
  'transitive-session-tags': toggle(
    SESSIONS,
    'Tags are passed on to the sessions that pods make with theirs, as by EKS Pod Identity',
  ),
};

const POLICY = 'Policy';

const DISABLE_STRICT = toggle(POLICY, "Let a namespace's expression match a part of the ARN");

const LIST_FORMAT = value(
  POLICY,
  choice<AllowedRolesFormat>({ glob: 'glob', regexp: 'regexp' }),
  'glob',
  "How the entries of kube2iam's lists are read, with --namespace-policy=kube2iam: glob or regexp",
);

const NAMESPACE_POLICY = value(
  POLICY,
  choice<'kiam' | 'kube2iam'>({ kiam: 'kiam', kube2iam: 'kube2iam' }),
  'kiam',
  'kube2iam: where a namespace has iam.amazonaws.com/allowed-roles, that list counts and iam.amazonaws.com/permitted does not',
);

const BINDING = value(
  POLICY,
  choice<Binding>({ pod: 'pod', serviceaccount: 'serviceaccount', both: 'both' }),
  'both',
  "Where a pod's role comes from: its own annotation, its ServiceAccount's alone, or both, its own first",
);

export const SERVER_OPTIONS = {
  kubeconfig: value(
    KUBERNETES,
    parseOptionalFile,
    '',
    'File that says how to reach the API server; empty inside a cluster',
  ),
  sync: value(KUBERNETES, anyDuration, '1m', "Accepted for Kiam's sake, has no effect: the watch misses nothing"),
  'max-view-age': value(
    KUBERNETES,
    duration('1s', '1h'),
    '30s',
    'How long the answer of the API server on who has an address is valid, for agents too, where no kernel shows it. ' +
      'After that it is asked again, and the pod is refused while it does not answer',
  ),
  'role-base-arn': ROLE_BASE_ARN,
  'role-base-arn-autodetect': toggle(
    AWS,
    'Read the prefix from the instance profile of the node; takes precedence over --role-base-arn. One of the two is required',
  ),
  'metadata-endpoint': { ...METADATA_ENDPOINT, group: AWS, describe: 'Metadata service that the profile is read from' },
  'assume-role-arn': value(
    AWS,
    parseAssumedRole,
    '',
    'Role that the server assumes first; sessions then last at most 1h',
  ),
  region: value(
    AWS,
    parseRegion,
    '',
    'Region of the STS endpoint; empty: as AWS_REGION and AWS_STS_REGIONAL_ENDPOINTS say, else the global one, ' +
      'sts.amazonaws.com',
  ),
  session: SESSION,
  ...SESSION_OPTIONS,
  'session-duration': value(
    AWS,
    duration('15m', '12h'),
    '1h',
    'How long credentials last: 15m to 12h, as far as the role allows',
  ),
  'session-refresh': optional(
    AWS,
    duration('0s', '12h'),
    'half of --session-duration',
    'How long before they expire credentials are replaced',
  ),
  'sts-rate': value(
    AWS,
    integer(1, 10_000),
    '200',
    'Calls to STS that this server makes for pods in a second, at most; fewer while AWS throttles. AWS has 600 for an account ' +
      'and region',
  ),
  fetchers: optional(
    AWS,
    integer(0, 1_000_000_000),
    'as many as --sts-rate allows',
    'Identities prefetched at a time, at most; 0 to fetch none before a pod asks',
  ),
  'prefetch-buffer-size': value(
    AWS,
    integer(0, 1_000_000_000),
    '1000',
    "Accepted for Kiam's sake, has no effect: no pod is dropped from the prefetch",
  ),
  'disable-strict-namespace-regexp': DISABLE_STRICT,
  'namespace-policy': NAMESPACE_POLICY,
  'namespace-restriction-format': LIST_FORMAT,
  binding: BINDING,
  'container-credentials': toggle(
    CONTAINER,
    'Tell agents the keys of the tokens of pods, and of pods with the host network, which their tokens alone can prove',
  ),
  'agent-identity': value(
    POLICY,
    choice<AgentIdentityMode>({ off: 'off', auto: 'auto', 'host-ip': 'host-ip', token: 'token' }),
    'auto',
    'How an agent is limited to the pods of its own node: off, auto, host-ip or token',
  ),
  'node-readiness': value(
    NODES,
    choice<'off' | 'condition' | 'taint'>({ off: 'off', condition: 'condition', taint: 'taint' }),
    'off',
    'condition: keep the condition PodCredentialsReady of every Node; taint: also take the taint kiam/agent-not-ready off',
  ),
  'agent-service-account': value(
    POLICY,
    parseServiceAccount,
    'system:serviceaccount:kube-system:kiam-agent',
    'Service account of the agents, whose tokens prove their node with --agent-identity=token; others are refused',
  ),
  'admin-socket': ADMIN_SOCKET,
  'status-port': value(
    MONITORING,
    integer(0, 65_535),
    '9622',
    'Port of 127.0.0.1 on which the server shows its status page to a browser; 0 for none',
  ),
  bind: value(GRPC, parseListen, 'localhost:9610', 'host:port where agents connect'),
  'grpc-max-connection-idle-duration': value(
    GRPC,
    anyLength,
    '15m',
    'Close a connection that has had no calls for this long; 0s for never',
  ),
  'grpc-max-connection-age-duration': value(
    GRPC,
    anyLength,
    '15m',
    'Ask agents to reconnect after this long; 0s for never',
  ),
  'grpc-max-connection-age-grace-duration': value(
    GRPC,
    anyLength,
    '15m',
    'How long calls that are in progress may then still take; 0s for any time',
  ),
  ...KEEPALIVE_OPTIONS,
  ...LOG_OPTIONS,
  ...TLS_OPTIONS,
  ...MONITORING_OPTIONS,
};

const WHOLE_CHECK = duration('1ms', '24h');

export const HEALTH_OPTIONS = {
  ...LOG_OPTIONS,
  ...TLS_OPTIONS,
  ...KEEPALIVE_OPTIONS,
  ...GATEWAY_OPTIONS,
  timeout: value('Check', WHOLE_CHECK, '1s', 'How long the whole check may take'),
};

const OUTPUT = 'Output';
const STEP = 'Step';
const CERTIFICATES = 'Certificates';

export const PKI_OPTIONS = {
  out: optional(
    OUTPUT,
    parseName,
    'none',
    'Folder that keeps the CA, its key and both pairs; without it the key of the CA is not kept',
  ),
  manifests: toggle(OUTPUT, 'Print the two Secrets for kubectl apply -f -', { absent: true }),
  namespace: value(OUTPUT, parseNamespace, 'kube-system', 'Namespace of the Secrets and of the server'),
  renew: toggle(STEP, 'Keep the CA and issue both pairs again'),
  'rotate-ca': optional(
    STEP,
    choice<'begin' | 'finish'>({ begin: 'begin', finish: 'finish' }),
    'no',
    'begin: trust a new CA beside the old one. finish, once all pods have read that: issue by the new one',
  ),
  ca: optional(STEP, parseName, undefined, 'PEM file of the CA to renew by, with --ca-key'),
  'ca-key': optional(STEP, parseName, undefined, 'PEM file of its private key'),
  'server-names': value(
    CERTIFICATES,
    parseNameList,
    '',
    'Names of the server in addition to kiam-server, its long forms, localhost and 127.0.0.1; separated by commas',
  ),
  'valid-for': value(CERTIFICATES, duration('1m', '87600h'), '8760h', 'How long both pairs are valid'),
  'ca-valid-for': value(CERTIFICATES, duration('1m', '876000h'), '87600h', 'How long a new CA is valid'),
};

export const POLICY_OPTIONS = {
  action: value(
    OUTPUT,
    choice<'warn' | 'deny'>({ warn: 'warn', deny: 'deny' }),
    'warn',
    'What happens to an object with a mistake: warn whoever applies it, or deny it',
  ),
  namespace: value(OUTPUT, parseNamespace, 'kube-system', 'Namespace of the ConfigMap with the parameters'),
  'role-base-arn': required(AWS, parseRoleBaseArn, '', "The servers' prefix of short role names"),
  'disable-strict-namespace-regexp': { ...DISABLE_STRICT, describe: "The servers' flag of this name" },
  binding: { ...BINDING, group: AWS, describe: "The servers' --binding" },
  'container-credentials': toggle(AWS, "The servers' flag of this name"),
  'allowed-session-tags': { ...ALLOWED_SESSION_TAGS, group: AWS, describe: "The servers' flag of this name" },
};

const ASKED = 'Server';
const API = 'Without a server';

export const EXPLAIN_OPTIONS = {
  pod: argument('NAMESPACE/POD', parsePodName, { namespace: '', name: '' }, 'The pod'),
  json: toggle(OUTPUT, 'Print JSON'),
  timeout: value(ASKED, WHOLE_CHECK, '5s', 'How long the whole answer may take'),
  'admin-socket': {
    ...ADMIN_SOCKET,
    group: ASKED,
    describe: 'Unix socket of the server to ask; by default the server that runs here',
    defaultText: 'automatic',
  },
  kubeconfig: value(API, parseOptionalFile, '', 'Read the API server by this file, and ask no server of Kiam'),
  'role-base-arn': {
    ...ROLE_BASE_ARN,
    group: API,
    describe: "The servers' --role-base-arn; without it the ARN of a short name is not known",
  },
  session: { ...SESSION, group: API, describe: "The servers' --session" },
  ...SESSION_OPTIONS,
  'disable-strict-namespace-regexp': { ...DISABLE_STRICT, group: API, describe: "The servers' flag of this name" },
  'namespace-policy': { ...NAMESPACE_POLICY, group: API, describe: "The servers' --namespace-policy" },
  'namespace-restriction-format': { ...LIST_FORMAT, group: API, describe: "The servers' flag of this name" },
  binding: { ...BINDING, group: API, describe: "The servers' --binding" },
};

export const STATUS_OPTIONS = {
  json: toggle(OUTPUT, 'Print JSON'),
  failing: toggle(OUTPUT, 'Print the pods that fail alone'),
  watch: toggle(OUTPUT, 'Print it every 2 seconds until it is interrupted'),
  namespace: optional(OUTPUT, parseNamespace, 'all', 'Only of the pods of this namespace'),
  timeout: value(ASKED, WHOLE_CHECK, '10s', 'How long the whole answer may take'),
  'admin-socket': {
    ...EXPLAIN_OPTIONS['admin-socket'],
    describe: 'Unix socket of the server to ask; by default all that run here',
  },
};

const MOVE = 'Move';

export const EXPORT_OPTIONS = {
  to: required(
    MOVE,
    choice<'pod-identity' | 'irsa'>({ 'pod-identity': 'pod-identity', irsa: 'irsa' }),
    'pod-identity',
    'Where pods are to get their credentials from: pod-identity or irsa',
  ),
  undo: toggle(MOVE, 'Print the way back to Kiam'),
  json: toggle(OUTPUT, 'Print JSON'),
  kubeconfig: SERVER_OPTIONS.kubeconfig,
  timeout: value(KUBERNETES, WHOLE_CHECK, '2m', 'How long reading the cluster may take'),
  'cluster-name': required(MOVE, parseClusterName, '', 'Name of the EKS cluster'),
  region: { ...SERVER_OPTIONS.region, describe: 'Region of the EKS cluster; required' },
  'role-base-arn': required(
    AWS,
    parseRoleBaseArn,
    '',
    "The servers' prefix of short role names; its account is that of the cluster",
  ),
  'oidc-issuer': value(
    MOVE,
    parseIssuer,
    '',
    "https:// URL of the cluster's OIDC issuer, with --to=irsa: `aws eks describe-cluster --query cluster.identity.oidc.issuer`",
  ),
  'intermediate-role': value(
    MOVE,
    parseAssumedRole,
    '',
    "ARN of a role of the cluster's account that assumes roles of other accounts, with --to=pod-identity",
  ),
  'disable-strict-namespace-regexp': { ...DISABLE_STRICT, describe: "The servers' flag of this name" },
  'namespace-policy': { ...NAMESPACE_POLICY, describe: "The servers' --namespace-policy" },
  'namespace-restriction-format': { ...LIST_FORMAT, describe: "The servers' flag of this name" },
  binding: { ...BINDING, describe: "The servers' --binding" },
};

const CONVERSION = 'Conversion';

export const CONVERT_OPTIONS = {
  from: argument('kube2iam', choice<'kube2iam'>({ kube2iam: 'kube2iam' }), 'kube2iam', 'What is converted'),
  file: value(
    CONVERSION,
    parseOptionalFile,
    '',
    "Also -f: the DaemonSet or the values of kube2iam's chart; with --namespaces the namespaces",
  ),
  namespaces: toggle(
    CONVERSION,
    'Print the commands that give namespaces the expressions which mean the same as their lists',
  ),
  kubeconfig: SERVER_OPTIONS.kubeconfig,
  'role-base-arn': { ...ROLE_BASE_ARN, describe: "kube2iam's --base-role-arn, with --namespaces" },
  'namespace-restriction-format': { ...LIST_FORMAT, group: CONVERSION, describe: "kube2iam's flag of this name" },
  'namespace-key': {
    ...KUBE2IAM_OPTIONS['namespace-key'],
    group: CONVERSION,
    describe: "kube2iam's flag of this name",
  },
};

const WHO = 'Where to look';

export const WHOIS_OPTIONS = {
  'access-key-id': argument('ACCESS-KEY-ID', parseAccessKeyId, '', 'The access key id, as CloudTrail shows it'),
  log: value(
    WHO,
    parseFileList,
    '-',
    'What agents wrote by --audit-log: files, separated by commas; - is standard input',
  ),
  timeout: value(ASKED, WHOLE_CHECK, '10s', 'How long the answer of the servers may take'),
  'admin-socket': {
    ...EXPLAIN_OPTIONS['admin-socket'],
    describe: 'Unix socket of the server to ask; by default all that run here, and none where it is empty',
  },
  at: optional(WHO, parseTime, undefined, 'Only pods that could use it at this time, such as 2026-01-02T15:04:05Z'),
  json: toggle(OUTPUT, 'Print JSON'),
};

const DOCTOR = 'Doctor';

/** Not checked here: the doctor's checks say more about a file than that it does not exist. */
const anyPath = (option: Option<string>): Option<string> => ({ ...option, parse: anyText });

const DOCTOR_OPTIONS = { json: toggle(DOCTOR, 'Print one JSON document instead of lines') };

const ANY_TLS_FILES = { cert: anyPath(TLS_OPTIONS.cert), key: anyPath(TLS_OPTIONS.key), ca: anyPath(TLS_OPTIONS.ca) };

export const DOCTOR_AGENT_OPTIONS = {
  ...DOCTOR_OPTIONS,
  'before-start': toggle(DOCTOR, 'For an init container: do not expect yet what the agent itself installs'),
  ...AGENT_OPTIONS,
  ...ANY_TLS_FILES,
};

export const DOCTOR_SERVER_OPTIONS = {
  ...DOCTOR_OPTIONS,
  'assume-roles': toggle(DOCTOR, 'Assume each role in use at STS, for 15 minutes and without any permission', {
    absent: true,
  }),
  ...SERVER_OPTIONS,
  ...ANY_TLS_FILES,
  kubeconfig: anyPath(SERVER_OPTIONS.kubeconfig),
};

export const DOCTOR_POD_OPTIONS = { ...DOCTOR_OPTIONS, 'metadata-endpoint': METADATA_ENDPOINT };

export const DOCTOR_CLUSTER_OPTIONS = {
  ...DOCTOR_OPTIONS,
  'compare-kiam': switchWithValue(
    DOCTOR,
    parseKiamVersion,
    undefined,
    'Before a migration: say which pods and namespaces uswitch/kiam 4 answers differently; =3 for Kiam 2 and 3',
  ),
  'compare-kube2iam': toggle(
    DOCTOR,
    'Before a migration: say which pods kube2iam, with the three flags below as it has them, answers otherwise than servers with --namespace-policy=kube2iam',
  ),
  'default-role': value(DOCTOR, anyText, '', "kube2iam's flag of this name"),
  'namespace-restrictions': toggle(DOCTOR, "kube2iam's flag of this name"),
  'namespace-restriction-format': { ...LIST_FORMAT, group: DOCTOR, describe: "kube2iam's flag of this name" },
  kubeconfig: anyPath(SERVER_OPTIONS.kubeconfig),
  'role-base-arn': ROLE_BASE_ARN,
  'disable-strict-namespace-regexp': DISABLE_STRICT,
  'namespace-policy': { ...NAMESPACE_POLICY, describe: "The servers' --namespace-policy" },
  binding: BINDING,
  session: SESSION,
  ...SESSION_OPTIONS,
};
