import { COMMON_OPTIONS, GATEWAY_OPTIONS, gatewayFlags, loggingFlags, tlsFlags } from './common.ts';
import type { GatewayFlags, LoggingFlags, TlsFlags } from './common.ts';
import { durationParser, valueOption } from './option.ts';
import type { OptionValues } from './option.ts';

export interface HealthFlags {
  readonly logging: LoggingFlags;
  readonly tls: TlsFlags;
  readonly gateway: GatewayFlags;
  /** For the whole check. */
  readonly timeoutMs: number;
}

export const HEALTH_OPTIONS = {
  ...COMMON_OPTIONS,
  ...GATEWAY_OPTIONS,
  timeout: valueOption({
    group: 'Check',
    describe: 'How long the whole check may take',
    default: '1s',
    parse: durationParser('1ms', '24h'),
  }),
};

export function healthFlags(values: OptionValues<typeof HEALTH_OPTIONS>): HealthFlags {
  return {
    logging: loggingFlags(values),
    tls: tlsFlags(values),
    gateway: gatewayFlags(values),
    timeoutMs: values.timeout,
  };
}
