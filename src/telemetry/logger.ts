import { pino } from 'pino';
import type { Logger as Pino } from 'pino';
import { systemClock } from '#runtime/clock.ts';
import type { Clock } from '#runtime/clock.ts';
import { printable, printableFields } from './log-values.ts';
import { logfmtLine } from './logfmt.ts';
import { createStandardErrorWriter } from './standard-error.ts';

/** A fact beside a message. Undefined fields are left out; an Error is written as its message. */
export type FieldValue = string | number | boolean | Error | undefined;
export type Fields = Readonly<Record<string, FieldValue>>;

/** One line per happening: the message is constant, what varies stands in the fields. */
export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
}

/** The logger of a whole process, which may also say why the process ends. It ends nothing itself. */
export interface ProcessLogger extends Logger {
  fatal(message: string, fields?: Fields): void;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface LoggerOptions {
  /** One JSON object a line instead of logfmt. */
  readonly json: boolean;
  /** The least severe level that is written. */
  readonly level: LogLevel;
  /** Takes one line with its line feed; standard error unless given, which is where logrus writes. */
  readonly write?: (line: string) => void;
  readonly clock?: Pick<Clock, 'now'>;
}

type WrittenLevel = keyof ProcessLogger;

/**
 * A logger that writes what logrus does with Kiam's settings, so that pipelines that parse Kiam's lines parse ours
 * (https://github.com/sirupsen/logrus, `text_formatter.go` and `json_formatter.go`): `time` in UTC and whole seconds, `level`
 * one of debug, info, warning, error, fatal, then `msg` and the fields. Each line is written before the call returns. No
 * method ever throws.
 */
export function createLogger(options: LoggerOptions): ProcessLogger {
  const write = options.write ?? createStandardErrorWriter();
  const lines = createPino(
    options,
    options.json ? (line) => write(escapeAsGo(line)) : (line) => write(logfmtLine(line)),
  );
  const at = (level: WrittenLevel): Logger['info'] => {
    if (!lines.isLevelEnabled(level)) return ignore;
    return (message, fields) => {
      try {
        lines[level](fields === undefined ? {} : printableFields(fields), printable(message));
      } catch {
        // A fact that cannot be written must not cost the request it belongs to.
      }
    };
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), fatal: at('fatal') };
}

function ignore(): void {}

function createPino({ level, clock = systemClock }: LoggerOptions, write: (line: string) => void): Pino {
  return pino(
    {
      level,
      base: null,
      messageKey: 'msg',
      timestamp: () => `,"time":"${new Date(clock.now()).toISOString().slice(0, 19)}Z"`,
      formatters: { level: (label) => ({ level: label === 'warn' ? 'warning' : label }) },
      // pino would otherwise rewrite fields called `err` and end each fatal line by flushing a stream that ours is not.
      serializers: {},
    },
    { write },
  );
}

/** Go's encoder also escapes what a browser or a terminal would act on; these characters occur inside strings only. */
const ESCAPED_BY_GO = /[<>&\u007f-\u009f\u2028\u2029]/g;

function escapeAsGo(line: string): string {
  return line.replace(ESCAPED_BY_GO, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
