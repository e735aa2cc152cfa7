import { parseHostAddresses } from '#agent/interception/host-addresses.ts';
import type { HostAddresses, HostAddressesResult } from '#agent/interception/host-addresses.ts';
import type { HostInterface } from '#agent/interception/host-interface.ts';
import { isLoopback } from '#domain/address.ts';
import {
  COMMON_OPTIONS,
  GATEWAY_OPTIONS,
  gatewayFlags,
  loggingFlags,
  MONITORING_OPTIONS,
  monitoringFlags,
  monitoringProblems,
  tlsFlags,
} from './common.ts';
import type { GatewayFlags, LoggingFlags, MonitoringFlags, TlsFlags } from './common.ts';
import {
  booleanOption,
  durationParser,
  integerParser,
  optionalOption,
  parseName,
  requiredOption,
  valueOption,
} from './option.ts';
import type { OptionValues } from './option.ts';
import { parseAddressList, parseExpression, parseHttpOrigin, parseInterface, parseListenHost } from './values.ts';

export interface AgentFlags {
  readonly logging: LoggingFlags;
  readonly tls: TlsFlags;
  readonly gateway: GatewayFlags;
  readonly monitoring: MonitoringFlags;
  readonly http: AgentHttpFlags;
  readonly interception: InterceptionFlags;
  /** Answers from the node's own memory are served for this long after the stream from the server is lost. */
  readonly serveStaleMs: number;
  readonly nodeStore: boolean;
  /** Sent to servers that want `--agent-identity=token`; undefined for none. */
  readonly agentTokenFile: string | undefined;
}

export interface AgentHttpFlags {
  /** `''` is all addresses. */
  readonly listenHost: string;
  readonly port: number;
  readonly allowIpQuery: boolean;
  /** RE2, searched for in the canonical path. */
  readonly allowRouteRegexp: string;
  /** Without a slash at the end. */
  readonly metadataEndpoint: string;
  /** How long a request waits for its pod to become known. */
  readonly waitMs: number;
  readonly requireImdsv2: boolean;
  /** Requests of one pod at a time; 0 is off. */
  readonly podConcurrency: number;
  /** Requests of one pod a second, and how many at once; 0 is off. */
  readonly podRatePerSecond: number;
  readonly podRateBurst: number;
}

export interface InterceptionFlags {
  /** Keep the rules in place. */
  readonly enabled: boolean;
  /** Put the guard in and exit. */
  readonly guardOnly: boolean;
  /** DNAT targets, at least one of them; undefined unless `enabled`. */
  readonly hostAddresses: HostAddresses | undefined;
  readonly hostInterface: HostInterface;
  readonly removeAtExit: boolean;
  readonly removeGuardAtExit: boolean;
}

const METADATA = 'Metadata API';
const INTERCEPTION = 'Interception';
const LIMITS = 'Limits for each pod';
const NODE = 'Node store';

export const AGENT_OPTIONS = {
  port: valueOption({ group: METADATA, describe: 'HTTP port', default: '3100', parse: integerParser(0, 65_535) }),
  'listen-address': valueOption({
    group: METADATA,
    describe: 'IP address to listen on; empty for all',
    default: '',
    parse: parseListenHost,
  }),
  'allow-route-regexp': valueOption({
    group: METADATA,
    describe: 'Which other metadata paths are proxied',
    default: '^$',
    parse: parseExpression,
  }),
  'allow-ip-query': booleanOption({
    group: METADATA,
    describe: "Let ?ip= stand for the client's address; for development on loopback only",
    default: false,
  }),
  'metadata-endpoint': valueOption({
    group: METADATA,
    describe: 'The real metadata service',
    default: 'http://169.254.169.254',
    parse: parseHttpOrigin,
  }),
  'require-imdsv2': booleanOption({
    group: METADATA,
    describe: 'Answer only requests with a token of this agent',
    default: false,
  }),
  wait: valueOption({
    group: METADATA,
    describe: 'How long a request waits for its pod to become known',
    default: '900ms',
    parse: durationParser('0s', '1m'),
  }),
  iptables: booleanOption({
    group: INTERCEPTION,
    describe: 'Keep the redirect and the guard in place',
    default: false,
  }),
  host: requiredOption({
    group: INTERCEPTION,
    describe: 'IP address of the node, where the redirect leads; or a list of them, separated by commas [env HOST_IP]',
    parse: parseAddressList,
    placeholder: [],
    environmentVariable: 'HOST_IP',
  }),
  'host-interface': valueOption({
    group: INTERCEPTION,
    describe: "Interface that pods' packets come in by: cali+ for every cali..., !eth0 for every other than eth0",
    default: 'docker0',
    parse: parseInterface,
  }),
  'iptables-remove': booleanOption({
    group: INTERCEPTION,
    describe: 'Remove the redirect at exit',
    default: false,
  }),
  'iptables-remove-guard': booleanOption({
    group: INTERCEPTION,
    describe: 'Remove the guard as well: pods then reach the identity of the node',
    default: false,
  }),
  'guard-only': booleanOption({
    group: INTERCEPTION,
    describe: 'Put the guard in and exit; needs no certificate',
    default: false,
  }),
  'pod-concurrency': valueOption({
    group: LIMITS,
    describe: 'Requests at a time; 0 for no limit',
    default: '16',
    parse: integerParser(0, 100_000),
  }),
  'pod-rate': valueOption({
    group: LIMITS,
    describe: 'Requests a second, with bursts of twice as many; 0 for no limit',
    default: '100',
    parse: integerParser(0, 1_000_000),
  }),
  'node-store': booleanOption({
    group: NODE,
    describe: "Have the server send what this node's pods may have, and answer from memory",
    default: true,
  }),
  'serve-stale': valueOption({
    group: NODE,
    describe: 'How long to answer from memory after the server is lost',
    default: '30s',
    parse: durationParser('0s', '12h'),
  }),
  'agent-token-file': optionalOption({
    group: NODE,
    describe: 'Projected service account token for a server with --agent-identity=token',
    parse: parseName,
  }),
  ...GATEWAY_OPTIONS,
  ...COMMON_OPTIONS,
  ...MONITORING_OPTIONS,
};

type AgentValues = OptionValues<typeof AGENT_OPTIONS>;

export function agentFlags(values: AgentValues): AgentFlags {
  return {
    logging: loggingFlags(values),
    tls: tlsFlags(values),
    gateway: gatewayFlags(values),
    monitoring: monitoringFlags(values),
    http: httpFlags(values),
    interception: interceptionFlags(values),
    serveStaleMs: values['serve-stale'],
    nodeStore: values['node-store'],
    agentTokenFile: values['agent-token-file'],
  };
}

function httpFlags(values: AgentValues): AgentHttpFlags {
  return {
    listenHost: values['listen-address'],
    port: values.port,
    allowIpQuery: values['allow-ip-query'],
    allowRouteRegexp: values['allow-route-regexp'],
    metadataEndpoint: values['metadata-endpoint'],
    waitMs: values.wait,
    requireImdsv2: values['require-imdsv2'],
    podConcurrency: values['pod-concurrency'],
    podRatePerSecond: values['pod-rate'],
    podRateBurst: values['pod-rate'] * 2,
  };
}

function interceptionFlags(values: AgentValues): InterceptionFlags {
  const addresses = redirectTargets(values);
  return {
    enabled: values.iptables,
    guardOnly: values['guard-only'],
    hostAddresses: addresses?.ok === true ? addresses.addresses : undefined,
    hostInterface: values['host-interface'],
    removeAtExit: values['iptables-remove'],
    removeGuardAtExit: values['iptables-remove-guard'],
  };
}

/** Not every address of a node can be redirected to; without rules it does not matter which one is given. */
function redirectTargets(values: AgentValues): HostAddressesResult | undefined {
  return values.iptables && values.host.length > 0 ? parseHostAddresses(values.host.join(',')) : undefined;
}

/** What no single flag is to blame for. */
export function agentProblems(values: AgentValues): string[] {
  const problems = monitoringProblems(values);
  const listenHost = values['listen-address'];
  if (values['allow-ip-query'] && (listenHost === '' || !isLoopback(listenHost))) {
    problems.push(
      '--allow-ip-query lets any client be any pod: it needs a loopback --listen-address such as 127.0.0.1',
    );
  }
  if (values.iptables && values.port === 0) problems.push('--iptables needs a --port to redirect to, not 0');
  const targets = redirectTargets(values);
  if (targets?.ok === false) problems.push(`--iptables cannot redirect to this --host: ${targets.reason}`);
  if (values['iptables-remove-guard'] && !values['iptables-remove']) {
    problems.push('--iptables-remove-guard needs --iptables-remove: without the guard the redirect protects nothing');
  }
  if (values['guard-only'] && values['iptables-remove']) {
    problems.push('--guard-only and --iptables-remove contradict each other');
  }
  return problems;
}
