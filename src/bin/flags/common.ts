import type { ListenAddress } from '#telemetry/listen-address.ts';
import { isLoopbackHost } from '#telemetry/listen-address.ts';
import type { LogLevel } from '#telemetry/logger.ts';
import { booleanOption, choiceParser, durationParser, optionalOption, requiredOption, valueOption } from './option.ts';
import type { Option, OptionValues } from './option.ts';
import { parseFile, parseOptionalListen, parseServerAddress } from './values.ts';
import type { ServerAddress } from './values.ts';

export interface LoggingFlags {
  readonly json: boolean;
  readonly level: LogLevel;
}

export interface TlsFlags {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly authorityFile: string;
}

export interface KeepaliveFlags {
  readonly timeMs: number;
  readonly timeoutMs: number;
}

export interface GatewayFlags {
  readonly serverAddress: ServerAddress;
  readonly creationTimeoutMs: number;
  readonly keepalive: KeepaliveFlags & { readonly permitWithoutStream: boolean };
}

export interface MonitoringFlags {
  /** Undefined is off. */
  readonly prometheusAddress: ListenAddress | undefined;
  /** Undefined is off. */
  readonly pprofAddress: ListenAddress | undefined;
}

const LOG = 'Logs';
const TLS = 'TLS';
const GRPC = 'gRPC';
const MONITORING = 'Monitoring';

const LEVELS = choiceParser<LogLevel>({ debug: 'debug', info: 'info', warn: 'warn', warning: 'warn', error: 'error' });

const file = (describe: string): Option<string> =>
  requiredOption({ group: TLS, describe, parse: parseFile, placeholder: '' });

const duration = (group: string, describe: string, text: string): Option<number> =>
  valueOption({ group, describe, default: text, parse: durationParser('1ms', '24h') });

export const COMMON_OPTIONS = {
  'json-log': booleanOption({ group: LOG, describe: 'Log lines of JSON instead of text', default: false }),
  level: valueOption({ group: LOG, describe: 'debug, info, warn or error', default: 'info', parse: LEVELS }),
  cert: file('PEM file of our own certificate'),
  key: file('PEM file of its private key'),
  ca: file("PEM file of the authorities that the other side's certificate must come from"),
  'grpc-keepalive-time-duration': duration(GRPC, 'Ping a connection that was quiet for this long', '10s'),
  'grpc-keepalive-timeout-duration': duration(GRPC, 'Close it when the ping is not answered within this time', '2s'),
};

export const GATEWAY_OPTIONS = {
  'server-address': valueOption({
    group: GRPC,
    describe: "host:port of the server; its certificate must be the host's",
    default: 'localhost:9610',
    parse: parseServerAddress,
  }),
  'server-address-refresh': valueOption({
    group: GRPC,
    describe: 'Has no effect: the name is resolved again whenever a connection is lost',
    default: '0s',
    parse: durationParser('0s', '24h'),
    deprecated: 'is deprecated and has no effect: the name is resolved again whenever a connection is lost',
  }),
  'gateway-timeout-creation': duration(GRPC, 'How long the first connection to a server may take', '1s'),
  'grpc-keepalive-permit-without-stream': booleanOption({
    group: GRPC,
    describe: 'Ping also while no call is under way',
    default: false,
  }),
};

export const MONITORING_OPTIONS = {
  'prometheus-listen-addr': optionalOption({
    group: MONITORING,
    describe: 'host:port that serves /metrics, /live and /ready, such as localhost:9620',
    parse: parseOptionalListen,
    defaultText: 'off',
  }),
  'prometheus-sync-interval': valueOption({
    group: MONITORING,
    describe: "Accepted for Kiam's sake: metrics are always current",
    default: '5s',
    parse: durationParser('0s', '24h'),
  }),
  'pprof-listen-addr': optionalOption({
    group: MONITORING,
    describe: 'host:port that serves CPU and heap profiles; a loopback address',
    parse: parseOptionalListen,
    defaultText: 'off',
  }),
  'pprof-allow-remote': booleanOption({
    group: MONITORING,
    describe: 'Let --pprof-listen-addr be another address: whoever reaches it can slow us down',
    default: false,
  }),
};

export function loggingFlags(values: OptionValues<typeof COMMON_OPTIONS>): LoggingFlags {
  return { json: values['json-log'], level: values.level };
}

export function tlsFlags(values: OptionValues<typeof COMMON_OPTIONS>): TlsFlags {
  return { certificateFile: values.cert, keyFile: values.key, authorityFile: values.ca };
}

export function keepaliveFlags(values: OptionValues<typeof COMMON_OPTIONS>): KeepaliveFlags {
  return {
    timeMs: values['grpc-keepalive-time-duration'],
    timeoutMs: values['grpc-keepalive-timeout-duration'],
  };
}

export function gatewayFlags(values: OptionValues<typeof COMMON_OPTIONS & typeof GATEWAY_OPTIONS>): GatewayFlags {
  return {
    serverAddress: values['server-address'],
    creationTimeoutMs: values['gateway-timeout-creation'],
    keepalive: { ...keepaliveFlags(values), permitWithoutStream: values['grpc-keepalive-permit-without-stream'] },
  };
}

export function monitoringFlags(values: OptionValues<typeof MONITORING_OPTIONS>): MonitoringFlags {
  return { prometheusAddress: values['prometheus-listen-addr'], pprofAddress: values['pprof-listen-addr'] };
}

export function monitoringProblems(values: OptionValues<typeof MONITORING_OPTIONS>): string[] {
  const address = values['pprof-listen-addr'];
  if (address === undefined || isLoopbackHost(address.host) || values['pprof-allow-remote']) return [];
  return ['--pprof-listen-addr must be a loopback address such as localhost:6060, or --pprof-allow-remote be given'];
}
