import { format } from 'node:util';

import { setLogger } from '@grpc/grpc-js';

import type { Logger } from '#telemetry/logger.ts';

/**
 * Writes what grpc-js reports into this log: by itself it prints plain lines to standard error. Its traces, which `GRPC_TRACE`
 * and `GRPC_VERBOSITY` ask for, are written nowhere: they show the headers of calls, and so agents' tokens.
 */
export function logGrpcProblems(logger: Logger): void {
  setLogger({
    error: (...parts: unknown[]) => logger.error('grpc-js reports a problem', { error: format(...parts) }),
    info: () => {},
    debug: () => {},
  });
}
