import { connect, type Socket } from 'node:net';

export interface LoadConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly headers: string;
  readonly from: string;
  /** Called once for each request, with 0 when the connection broke. */
  readonly onAnswer: (status: number) => void;
}

const RECONNECT_MS = 50;
const STATUS_AT = 'HTTP/1.1 '.length;
const HEADERS_END = '\r\n\r\n';

/**
 * One kept-alive connection that asks the same question again and again. It reads no more of an answer than it must: an
 * answer as long as the last whole one, in one piece, is taken for whole. That makes it several times cheaper than node's own
 * client, so that the server under test is what limits the rate.
 */
export class LoadConnection {
  readonly #options: LoadConnectionOptions;
  readonly #request: Buffer;
  #socket: Socket | undefined;
  #pending: Buffer | undefined;
  #usualLength = 0;
  #waiting = false;
  #closed = false;

  constructor(options: LoadConnectionOptions) {
    this.#options = options;
    this.#request = Buffer.from(`GET ${options.path} HTTP/1.1\r\n${options.headers}\r\n`, 'latin1');
  }

  /** Resolves when connected; afterwards the connection renews itself. */
  open(): Promise<void> {
    return new Promise((resolve) => {
      const { host, port, from } = this.#options;
      const socket = connect({ host, port, localAddress: from, noDelay: true });
      this.#socket = socket;
      this.#pending = undefined;
      socket.on('data', (chunk) => this.#read(chunk));
      socket.on('error', () => {});
      socket.once('connect', resolve);
      socket.once('close', () => {
        resolve();
        this.#onClose();
      });
    });
  }

  ask(): void {
    this.#waiting = true;
    if (this.#socket?.writable === true) this.#socket.write(this.#request);
  }

  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
  }

  #onClose(): void {
    if (this.#closed) return;
    setTimeout(() => {
      if (this.#closed) return;
      void this.open().then(() => this.#answered(0));
    }, RECONNECT_MS);
  }

  #answered(status: number): void {
    if (!this.#waiting || this.#closed) return;
    this.#waiting = false;
    this.#options.onAnswer(status);
  }

  #read(chunk: Buffer): void {
    if (this.#pending === undefined && chunk.length === this.#usualLength) {
      this.#answered(statusOf(chunk));
      return;
    }
    const bytes = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    const length = wholeLength(bytes);
    if (length === undefined || bytes.length < length) {
      this.#pending = bytes;
      return;
    }
    this.#pending = undefined;
    this.#usualLength = length;
    this.#answered(statusOf(bytes));
  }
}

function statusOf(bytes: Buffer): number {
  return Number(bytes.toString('latin1', STATUS_AT, STATUS_AT + 3));
}

/** Of the answer with its headers; undefined while the headers are not complete. */
function wholeLength(bytes: Buffer): number | undefined {
  const end = bytes.indexOf(HEADERS_END, 0, 'latin1');
  if (end === -1) return undefined;
  const body = /content-length: *(\d+)/i.exec(bytes.toString('latin1', 0, end))?.[1] ?? '0';
  return end + HEADERS_END.length + Number(body);
}
