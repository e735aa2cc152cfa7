import type { ListenAddress } from '#telemetry/listen-address.ts';
import {
  COMMON_OPTIONS,
  keepaliveFlags,
  loggingFlags,
  MONITORING_OPTIONS,
  monitoringFlags,
  monitoringProblems,
  tlsFlags,
} from './common.ts';
import type { KeepaliveFlags, LoggingFlags, MonitoringFlags, TlsFlags } from './common.ts';
import {
  booleanOption,
  choiceParser,
  durationParser,
  integerParser,
  optionalOption,
  parseName,
  valueOption,
} from './option.ts';
import type { Option, OptionValues } from './option.ts';
import {
  parseAssumedRole,
  parseHttpOrigin,
  parseListen,
  parseOptionalFile,
  parseRegion,
  parseRoleBaseArn,
} from './values.ts';

export interface ServerFlags {
  readonly logging: LoggingFlags;
  readonly tls: TlsFlags;
  readonly grpc: ServerGrpcFlags;
  readonly monitoring: MonitoringFlags;
  readonly kubernetes: KubernetesFlags;
  readonly aws: AwsFlags;
  /** A namespace's expression need only match a part of the ARN. */
  readonly disableStrictNamespaceRegexp: boolean;
  /** How many identities are prefetched at a time. */
  readonly fetchers: number;
  readonly agentIdentity: AgentIdentityMode;
}

export type AgentIdentityMode = 'off' | 'auto' | 'host-ip' | 'token';

export interface ServerGrpcFlags {
  readonly bind: ListenAddress;
  readonly keepalive: KeepaliveFlags;
  readonly maxConnectionIdleMs: number;
  readonly maxConnectionAgeMs: number;
  readonly maxConnectionAgeGraceMs: number;
}

export interface KubernetesFlags {
  /** `''` is the cluster that the pod runs in. */
  readonly kubeconfig: string;
  readonly syncMs: number;
  readonly maxViewAgeMs: number;
}

export interface AwsFlags {
  /** With `autodetect` the given ARN, if any, is not used. */
  readonly roleBase:
    | { readonly kind: 'given'; readonly arn: string }
    | { readonly kind: 'autodetect'; readonly metadataEndpoint: string };
  /** As given; `''` is none, a short name is resolved by the base ARN. */
  readonly assumeRole: string;
  /** `''` is the global endpoint. */
  readonly region: string;
  readonly sessionName: string;
  readonly sessionDurationMs: number;
  readonly sessionRefreshMs: number;
}

const GRPC = 'gRPC';
const KUBERNETES = 'Kubernetes';
const AWS = 'AWS';
const POLICY = 'Policy';

const connectionBound = (describe: string): Option<number> =>
  valueOption({ group: GRPC, describe, default: '15m', parse: durationParser('1ms', '8760h') });

export const SERVER_OPTIONS = {
  kubeconfig: valueOption({
    group: KUBERNETES,
    describe: 'File that says how to reach the API; empty inside a cluster',
    default: '',
    parse: parseOptionalFile,
  }),
  sync: valueOption({
    group: KUBERNETES,
    describe: 'How often the pods held are looked through again',
    default: '1m',
    parse: durationParser('1s', '24h'),
  }),
  'max-view-age': valueOption({
    group: KUBERNETES,
    describe: 'Refuse pods that have not been confirmed when the API was silent for this long',
    default: '30s',
    parse: durationParser('1s', '1h'),
  }),
  'role-base-arn': optionalOption({
    group: AWS,
    describe: 'What stands before short role names: arn:aws:iam::123456789012:role/',
    parse: parseRoleBaseArn,
  }),
  'role-base-arn-autodetect': booleanOption({
    group: AWS,
    describe: 'Take it from the instance profile of the node; goes before --role-base-arn',
    default: false,
  }),
  'metadata-endpoint': valueOption({
    group: AWS,
    describe: 'The metadata service that the profile is read from',
    default: 'http://169.254.169.254',
    parse: parseHttpOrigin,
  }),
  'assume-role-arn': valueOption({
    group: AWS,
    describe: 'Role that the server assumes first; sessions then last at most 1h',
    default: '',
    parse: parseAssumedRole,
  }),
  region: valueOption({
    group: AWS,
    describe: 'Region of the STS endpoint; empty for sts.amazonaws.com',
    default: '',
    parse: parseRegion,
  }),
  session: valueOption({
    group: AWS,
    describe: 'Session name of pods that annotate none',
    default: 'kiam',
    parse: parseName,
  }),
  'session-duration': valueOption({
    group: AWS,
    describe: 'How long credentials last: 15m to 12h, as far as the role allows',
    default: '1h',
    parse: durationParser('15m', '12h'),
  }),
  'session-refresh': optionalOption({
    group: AWS,
    describe: 'How long before their end they are replaced',
    parse: durationParser('0s', '12h'),
    defaultText: 'half of --session-duration',
  }),
  fetchers: valueOption({
    group: AWS,
    describe: 'Identities prefetched at a time',
    default: '8',
    parse: integerParser(1, 1000),
  }),
  'prefetch-buffer-size': valueOption({
    group: AWS,
    describe: "Accepted for Kiam's sake: nothing is dropped, each identity waits at most once",
    default: '1000',
    parse: integerParser(0, 1_000_000_000),
  }),
  'disable-strict-namespace-regexp': booleanOption({
    group: POLICY,
    describe: "Let a namespace's expression match a part of the ARN",
    default: false,
  }),
  'agent-identity': valueOption({
    group: POLICY,
    describe: 'How an agent is held to its node: off, auto, host-ip or token',
    default: 'auto',
    parse: choiceParser<AgentIdentityMode>({ off: 'off', auto: 'auto', 'host-ip': 'host-ip', token: 'token' }),
  }),
  bind: valueOption({ group: GRPC, describe: 'host:port to listen on', default: 'localhost:9610', parse: parseListen }),
  'grpc-max-connection-idle-duration': connectionBound('Close a connection without calls after this long'),
  'grpc-max-connection-age-duration': connectionBound('Ask agents to connect anew after this long'),
  'grpc-max-connection-age-grace-duration': connectionBound('How long calls may then still take'),
  ...COMMON_OPTIONS,
  ...MONITORING_OPTIONS,
};

type ServerValues = OptionValues<typeof SERVER_OPTIONS>;

export function serverFlags(values: ServerValues): ServerFlags {
  return {
    logging: loggingFlags(values),
    tls: tlsFlags(values),
    grpc: {
      bind: values.bind,
      keepalive: keepaliveFlags(values),
      maxConnectionIdleMs: values['grpc-max-connection-idle-duration'],
      maxConnectionAgeMs: values['grpc-max-connection-age-duration'],
      maxConnectionAgeGraceMs: values['grpc-max-connection-age-grace-duration'],
    },
    monitoring: monitoringFlags(values),
    kubernetes: { kubeconfig: values.kubeconfig, syncMs: values.sync, maxViewAgeMs: values['max-view-age'] },
    aws: awsFlags(values),
    disableStrictNamespaceRegexp: values['disable-strict-namespace-regexp'],
    fetchers: values.fetchers,
    agentIdentity: values['agent-identity'],
  };
}

function awsFlags(values: ServerValues): AwsFlags {
  return {
    roleBase: values['role-base-arn-autodetect']
      ? { kind: 'autodetect', metadataEndpoint: values['metadata-endpoint'] }
      : { kind: 'given', arn: values['role-base-arn'] ?? '' },
    assumeRole: values['assume-role-arn'],
    region: values.region,
    sessionName: values.session,
    sessionDurationMs: values['session-duration'],
    sessionRefreshMs: refreshTakesTooLong(values)
      ? halfDurationMs(values)
      : (values['session-refresh'] ?? halfDurationMs(values)),
  };
}

function halfDurationMs(values: ServerValues): number {
  return values['session-duration'] / 2;
}

/** Kiam's manifests say `--session-duration=15m` alone, and people shorten it below their `--session-refresh`. */
function refreshTakesTooLong(values: ServerValues): boolean {
  return (values['session-refresh'] ?? 0) >= values['session-duration'];
}

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html: a chained session lasts one hour at most. */
const LONGEST_CHAINED_SESSION_MS = 3_600_000;

/** What no single flag is to blame for. */
export function serverProblems(values: ServerValues, given: ReadonlySet<string>): string[] {
  const problems = monitoringProblems(values);
  if (!given.has('role-base-arn') && !values['role-base-arn-autodetect']) {
    problems.push('one of --role-base-arn and --role-base-arn-autodetect must be given');
  }
  if (values['assume-role-arn'] !== '' && values['session-duration'] > LONGEST_CHAINED_SESSION_MS) {
    problems.push('--session-duration may be at most 1h with --assume-role-arn: AWS refuses more for chained roles');
  }
  return problems;
}

export function serverWarnings(values: ServerValues): string[] {
  if (!refreshTakesTooLong(values)) return [];
  return ['--session-refresh is not below --session-duration: half of the duration is used instead'];
}
