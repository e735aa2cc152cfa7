import type { ListenAddress } from '#telemetry/listen-address.ts';
import { keepaliveFlags, loggingFlags, monitoringFlags, monitoringProblems, tlsFlags } from './common.ts';
import type { KeepaliveFlags, LoggingFlags, MonitoringFlags, TlsFlags } from './common.ts';
import type { OptionValues } from './option.ts';
import type { AgentIdentityMode, SERVER_OPTIONS } from './server-options.ts';

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
  /** Path of a Unix socket; undefined for one in a folder of the user's own, `''` for none. */
  readonly adminSocket: string | undefined;
}

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
    adminSocket: values['admin-socket'],
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
