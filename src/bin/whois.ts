import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

import { type AuditLine, parseAuditLine } from '#domain/audit-line.ts';
import { describeError } from '#runtime/errors.ts';

import type { FlagsOf } from './flags/option.ts';
import type { WHOIS_OPTIONS } from './flags/table.ts';

export type WhoisFlags = FlagsOf<typeof WHOIS_OPTIONS>;

/** Hands over what agents wrote, a line at a time. */
export type ReadLogs = (onLine: (text: string) => void) => Promise<void>;

/** Prints which pods were served an access key, by what agents wrote (`--audit-log`). Exits 1 when there is none. */
export function runWhois({ flags }: { readonly flags: WhoisFlags }): Promise<void> {
  return printWhois(flags, async (onLine) => {
    for (const path of flags.log) await readLines(path === '-' ? process.stdin : createReadStream(path), onLine);
  });
}

/** As {@link runWhois}, of logs that are read elsewhere; a rejection says why they cannot be. */
export async function printWhois({ accessKeyId, at, json }: WhoisFlags, readLogs: ReadLogs): Promise<void> {
  const found = new Map<string, AuditLine>();
  try {
    await readLogs((text) => {
      // Most lines are of other keys, and a line is only taken apart when it may be of this one.
      const line = text.includes(accessKeyId) ? parseAuditLine(text) : undefined;
      if (line === undefined || line.accessKeyId !== accessKeyId || !isAt(line, at)) return;
      const known = found.get(line.uid);
      // An agent that was restarted writes of the same pod again.
      if (known === undefined || line.time < known.time) found.set(line.uid, line);
    });
  } catch (error) {
    process.stderr.write(`kiam: ${describeError(error)}\n`);
    process.exitCode = 1;
    return;
  }
  const lines = [...found.values()].toSorted((left, right) => (left.time < right.time ? -1 : 1));
  if (json) process.stdout.write(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  else process.stdout.write(lines.map(inWords).join(''));
  if (lines.length > 0) return;
  const when = at === undefined ? '' : ' at that time';
  process.stderr.write(`kiam: no pod was served ${accessKeyId}${when}, as far as these logs tell\n`);
  process.exitCode = 1;
}

async function readLines(input: Readable, onLine: (text: string) => void): Promise<void> {
  for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) onLine(text);
}

function isAt({ time, expiration }: AuditLine, atMs: number | undefined): boolean {
  return atMs === undefined || (Date.parse(time) <= atMs && atMs <= Date.parse(expiration));
}

function inWords(line: AuditLine): string {
  const { namespace, pod, uid, serviceAccount, node, roleArn, sessionName, time, expiration } = line;
  return [
    pod === '' ? `the pod with the UID ${uid}` : `${namespace}/${pod} (UID ${uid})`,
    `  node:            ${orUnknown(node)}`,
    `  ServiceAccount:  ${orUnknown(serviceAccount)}`,
    `  role:            ${orUnknown(roleArn)}`,
    `  session name:    ${orUnknown(sessionName)}`,
    `  from, until:     ${time}, ${expiration}\n`,
  ].join('\n');
}

function orUnknown(text: string): string {
  return text === '' ? 'not known' : text;
}
