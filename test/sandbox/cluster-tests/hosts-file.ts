import { closeSync, openSync, writeSync } from 'node:fs';

/** A change must fit into what the file was made with. */
const SIZE_BYTES = 16 * 1024;

/**
 * The names of a cluster as a hosts file that every process sees in place of /etc/hosts: in it a Service's name has all
 * its addresses, as a headless Service has in DNS. Each change is one write over the whole file, which nobody reads half.
 */
export class HostsFile {
  readonly path: string;
  readonly #descriptor: number;
  readonly #fixed: readonly string[];

  constructor(path: string, fixed: Readonly<Record<string, string>>) {
    this.path = path;
    this.#descriptor = openSync(path, 'w');
    this.#fixed = Object.entries({ localhost: '127.0.0.1', ...fixed }).map(([name, address]) => `${address} ${name}`);
    this.write(new Map());
  }

  /** Names are `<service>.<namespace>`. They are found by that and by all that DNS adds to it or leaves out. */
  write(services: ReadonlyMap<string, readonly string[]>): void {
    const lines = [...services].flatMap(([name, addresses]) => {
      const names = [name.split('.')[0], name, `${name}.svc`, `${name}.svc.cluster.local`].join(' ');
      return addresses.map((address) => `${address} ${names}`);
    });
    const text = `${[...this.#fixed, ...lines].join('\n')}\n`;
    writeSync(this.#descriptor, text.padEnd(SIZE_BYTES, '\n'), 0);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
