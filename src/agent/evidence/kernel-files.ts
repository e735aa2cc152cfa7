import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';

/** The files in which the kernel shows its network tables, as the network namespace of the agent has them. */
export interface KernelFiles {
  /** The whole file; undefined when it is not there, cannot be read or is longer than `LONGEST_TABLE`. Never throws. */
  read(path: string): Buffer | undefined;
  /** The names in a directory; none when it is not there. Never throws. */
  list(path: string): readonly string[];
  /** The inode number of what the path leads to; undefined when it is not there. Never throws. */
  inode(path: string): bigint | undefined;
}

/** Some 60,000 routes. Whoever has more gets no evidence rather than an agent that stands still. */
const LONGEST_TABLE = 8 * 1024 * 1024;

/** Most files here are shorter than this; the kernel hands out the long ones by pages of 4 KiB. */
const FIRST_SIZE = 16 * 1024;

/**
 * Reads the real ones. They have no size that could be asked for, so each is read until it ends. Reads are synchronous:
 * these files are made by the kernel in microseconds, where a trip through the thread pool costs a hundred.
 */
export function createKernelFiles(): KernelFiles {
  let scratch = Buffer.allocUnsafeSlow(FIRST_SIZE);

  const readAll = (file: number): Buffer | undefined => {
    let length = 0;
    for (;;) {
      const count = readSync(file, scratch, length, scratch.length - length, null);
      if (count === 0) return Buffer.from(scratch.subarray(0, length));
      length += count;
      // Half a page less would cut a page in two; for `brforward` that is an error (it is read by whole entries).
      if (scratch.length - length >= FIRST_SIZE / 2) continue;
      if (scratch.length >= LONGEST_TABLE) return undefined;
      const larger = Buffer.allocUnsafeSlow(scratch.length * 2);
      scratch.copy(larger, 0, 0, length);
      scratch = larger;
    }
  };

  return {
    read: (path) => {
      let file: number | undefined;
      try {
        file = openSync(path, 'r');
        return readAll(file);
      } catch {
        return undefined;
      } finally {
        if (file !== undefined) closeSync(file);
      }
    },
    list: (path) => {
      try {
        return readdirSync(path, { encoding: 'utf8' });
      } catch {
        return [];
      }
    },
    inode: (path) => {
      try {
        return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
      } catch {
        return undefined;
      }
    },
  };
}
