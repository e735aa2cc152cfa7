import type { AwaitTurn } from '#runtime/turn-budget.ts';

interface KnownRow {
  readonly json: string;
  readonly version: number;
}

/** Removed keys that are remembered; a client whose last request is older than these gets the whole table. */
const MOST_GONE = 5000;

/** One table of the overview: the text of each row, and the version in which it last changed. */
export class ChangeTable {
  readonly #rows = new Map<string, KnownRow>();
  readonly #gone = new Map<string, number>();
  #knownSince = 0;

  /** Takes the rows as they are now. Says whether any has changed. */
  async update(rows: Iterable<readonly [string, unknown]>, version: number, awaitTurn: AwaitTurn): Promise<boolean> {
    let hasChanged = false;
    const present = new Set<string>();
    for (const [key, row] of rows) {
      await awaitTurn();
      present.add(key);
      const json = JSON.stringify([key, row]);
      if (this.#rows.get(key)?.json === json) continue;
      hasChanged = true;
      this.#rows.set(key, { json, version });
      this.#gone.delete(key);
    }
    for (const key of this.#rows.keys()) {
      if (present.has(key)) continue;
      hasChanged = true;
      this.#rows.delete(key);
      this.#gone.set(key, version);
    }
    if (this.#gone.size > MOST_GONE) {
      this.#gone.clear();
      this.#knownSince = version;
    }
    return hasChanged;
  }

  /** Whether what has gone since a version is still known. */
  reachesBackTo(version: number): boolean {
    return version >= this.#knownSince;
  }

  /** A {@link import('./wire.ts').TableChange} as JSON: what is newer than a version. */
  jsonSince(version: number): string {
    const rows: string[] = [];
    for (const row of this.#rows.values()) if (row.version > version) rows.push(row.json);
    const gone: string[] = [];
    for (const [key, at] of this.#gone) if (at > version && version > 0) gone.push(key);
    return `{"rows":[${rows.join(',')}],"gone":${JSON.stringify(gone)}}`;
  }
}
