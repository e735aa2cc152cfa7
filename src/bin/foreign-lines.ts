import { logGrpcProblems } from '#rpc/library-log.ts';
import type { Logger } from '#telemetry/logger.ts';

/** Puts what Node and grpc-js would print as plain lines on standard error into the log of this process. */
export function logForeignLines(logger: Logger): void {
  logGrpcProblems(logger);
  // Node's own listener prints the warning.
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    const code = 'code' in warning && typeof warning.code === 'string' ? warning.code : undefined;
    logger.warn('warning from Node.js', { name: warning.name, code, error: warning });
  });
}
