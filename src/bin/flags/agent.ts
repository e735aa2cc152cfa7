import { parseHostAddresses } from '#agent/interception/host-addresses.ts';
import type { HostAddresses, HostAddressesResult } from '#agent/interception/host-addresses.ts';
import type { HostInterface } from '#agent/interception/host-interface.ts';
import { isLoopback } from '#domain/address.ts';
import type { AGENT_OPTIONS } from './agent-options.ts';
import { gatewayFlags, loggingFlags, monitoringFlags, monitoringProblems, tlsFlags } from './common.ts';
import type { GatewayFlags, LoggingFlags, MonitoringFlags, TlsFlags } from './common.ts';
import type { OptionValues } from './option.ts';

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
  readonly guardInterface: HostInterface;
  readonly removeAtExit: boolean;
  readonly removeGuardAtExit: boolean;
}

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
    guardInterface: values['guard-interface'],
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
