import { readdirSync, readFileSync, statSync } from 'node:fs';

/**
 * The kernel's own files below /proc and /sys. They are read while a connection is accepted, without waiting: each is made in
 * memory, in microseconds.
 */
export interface KernelFiles {
  /** Undefined for a file that is not there. Never throws. */
  read(path: string): Buffer | undefined;
  /** The names in a directory; empty for one that is not there. Never throws. */
  list(path: string): readonly string[];
  /** The inode number of what the path leads to; undefined where there is nothing. Never throws. */
  inode(path: string): bigint | undefined;
}

export const kernelFiles: KernelFiles = {
  read: (path) => {
    try {
      return readFileSync(path);
    } catch {
      return undefined;
    }
  },
  list: (path) => {
    try {
      return readdirSync(path);
    } catch {
      return [];
    }
  },
  inode: (path) => {
    try {
      return statSync(path, { bigint: true }).ino;
    } catch {
      return undefined;
    }
  },
};

/** The number in a file such as `ifindex` or, in hexadecimal, `port_no`; undefined where there is none. */
export function readNumber(files: KernelFiles, path: string): number | undefined {
  const text = files.read(path)?.toString('latin1').trim();
  if (text === undefined || !/^(?:0x[0-9a-f]+|\d+)$/i.test(text)) return undefined;
  return Number(text);
}
