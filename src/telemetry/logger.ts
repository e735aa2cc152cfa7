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
