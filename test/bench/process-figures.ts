import { readFileSync } from 'node:fs';

/** `USER_HZ`, which is 100 on every Linux that Node runs on: CPU times come in steps of 10 ms. */
const TICK_MS = 10;

/** The CPU time, user and system, that a process has used so far. */
export function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the program's name in parentheses, which may hold spaces; user and system time are fields 14 and 15.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

export interface Memory {
  /** All resident pages. */
  readonly rssMiB: number;
  /** Pages that are shared with other processes, such as Node's own program, count by their share. */
  readonly pssMiB: number;
  /** Neither backed by a file nor shared: what only this process needs. */
  readonly anonymousMiB: number;
}

export function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mebibytes = (name: string): number =>
    Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) / 1024;
  return { rssMiB: mebibytes('Rss'), pssMiB: mebibytes('Pss'), anonymousMiB: mebibytes('Anonymous') };
}
