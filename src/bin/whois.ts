import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

import { type AuditLine, parseAuditLine } from '#domain/audit-line.ts';
import { describeError } from '#runtime/errors.ts';
import type { WhoisAnswer } from '#server/whois/collect.ts';

import { askServersHere, type WhoisAnswers } from './asked-whois.ts';
import type { FlagsOf } from './flags/option.ts';
import type { WHOIS_OPTIONS } from './flags/table.ts';

export type WhoisFlags = FlagsOf<typeof WHOIS_OPTIONS>;

export interface WhoisSources {
  /** Hands over what agents wrote, a line at a time; a rejection says why it cannot be read. */
  readonly readLogs: (onLine: (text: string) => void) => Promise<void>;
  /** `isServed` is whether the logs name a pod. */
  readonly askServers: (isServed: boolean) => Promise<WhoisAnswers>;
}

/** A pod that was served an access key, or may have been. */
interface Holder {
  readonly line: AuditLine;
  /** The server in whose memory it is; `''` where an agent has written that it was served. */
  readonly server: string;
}

/**
 * Prints which pods were served an access key, by what agents wrote (`--audit-log`), and which have that session by the memory
 * of the servers that run here. Exits 1 when there is none.
 */
export function runWhois({ flags }: { readonly flags: WhoisFlags }): Promise<void> {
  return printWhois(flags, {
    readLogs: async (onLine) => {
      // A person at a terminal has nothing to type here.
      for (const path of flags.log.filter((name) => name !== '-' || !process.stdin.isTTY)) {
        await readLines(path === '-' ? process.stdin : createReadStream(path), onLine);
      }
    },
    askServers: () => askServersHere(flags),
  });
}

/** Like {@link runWhois}, with logs and servers given by the caller. */
export async function printWhois(flags: WhoisFlags, { readLogs, askServers }: WhoisSources): Promise<void> {
  const { accessKeyId, at, json } = flags;
  const served = createLineFinder(accessKeyId, at);
  try {
    await readLogs((text) => served.read(text));
  } catch (error) {
    process.stderr.write(`kiam: ${describeError(error)}\n`);
    process.exitCode = 1;
    return;
  }
  const { answers, problems } = await askServers(served.lines().length > 0);
  const holders = [...served.lines().map((line) => ({ line, server: '' })), ...fromMemory(answers, served.lines(), at)];
  if (json) process.stdout.write(holders.map((holder) => `${JSON.stringify(inJson(holder))}\n`).join(''));
  else process.stdout.write(holders.map(inWords).join(''));
  for (const problem of problems) process.stderr.write(`kiam: ${problem}\n`);
  if (holders.length > 0) return;
  const known = answers.find(({ isKnown }) => isKnown);
  const when = at === undefined ? '' : ' at that time';
  const says =
    known === undefined
      ? `no pod was served ${accessKeyId}${when}, as far as these logs and the servers here tell`
      : `${accessKeyId} is of the role ${known.roleArn}, session ${known.sessionName}, which no pod has now; which pods had it${when} is in the logs of agents alone`;
  process.stderr.write(`kiam: ${says}\n`);
  process.exitCode = 1;
}

/**
 * Reads log lines and keeps those of the access key, the earliest for each pod: an agent that was restarted logs a key again.
 */
export function createLineFinder(
  accessKeyId: string,
  atMs: number | undefined,
): { read(text: string): void; lines(): readonly AuditLine[] } {
  const found = new Map<string, AuditLine>();
  return {
    read: (text) => {
      // Most lines are of other keys, and a line is only taken apart when it may be of this one.
      const line = text.includes(accessKeyId) ? parseAuditLine(text) : undefined;
      if (line === undefined || line.accessKeyId !== accessKeyId || !isAt(line, atMs)) return;
      const known = found.get(line.uid);
      if (known === undefined || line.time < known.time) found.set(line.uid, line);
    },
    lines: () => [...found.values()].toSorted((left, right) => (left.time < right.time ? -1 : 1)),
  };
}

/** Pods that the servers name and no log does, each once. */
function fromMemory(answers: readonly WhoisAnswer[], served: readonly AuditLine[], at: number | undefined): Holder[] {
  const known = new Set(served.map(({ uid }) => uid));
  const holders: Holder[] = [];
  for (const { server, pods } of answers) {
    for (const line of pods.filter((one) => isAt(one, at) && !known.has(one.uid))) {
      known.add(line.uid);
      holders.push({ line, server });
    }
  }
  return holders;
}

async function readLines(input: Readable, onLine: (text: string) => void): Promise<void> {
  for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) onLine(text);
}

function isAt({ time, expiration }: AuditLine, atMs: number | undefined): boolean {
  return atMs === undefined || (Date.parse(time) <= atMs && atMs <= Date.parse(expiration));
}

function inJson({ line, server }: Holder): AuditLine & { readonly server: string | null } {
  return { ...line, server: server === '' ? null : server };
}

function inWords({ line, server }: Holder): string {
  const { namespace, pod, uid, serviceAccount, node, roleArn, sessionName, time, expiration } = line;
  return [
    pod === '' ? `the pod with the UID ${uid}` : `${namespace}/${pod} (UID ${uid})`,
    ...(server === ''
      ? []
      : [
          `  by:              the memory of ${server}: it has this session now; no log read here says when it was served`,
        ]),
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
