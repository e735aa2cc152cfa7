import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface RequestGate {
  /**
   * Call it with a request whose response has no socket, because an earlier request of the connection is not answered yet.
   * `begin` runs once it is, and never if the connection ends before.
   */
  postpone(request: IncomingMessage, response: ServerResponse, begin: () => void): void;
  /** Nothing that follows on the connection is looked at: the answer in progress closes it. */
  ignoreRest(socket: Socket): void;
  /** For the server's `clientError`: whether the error only means that the gate has stopped the parser. */
  hasStopped(error: Error, socket: object): boolean;
}

/**
 * Has one request of a connection answered at a time, however many its client sends at once. node parses all that one read
 * brings: in 64 KiB are some 2,600 requests, and each is kept together with its answer until those before it are sent.
 * Here the parser stops behind the headers of the first request that comes too early. The rest of the read, at most 64 KiB,
 * is kept, little more is read, and each turn of the event loop parses one request further.
 *
 * A connection whose client waits for its answers costs nothing: node itself shows which response has to wait, by having no
 * socket (https://nodejs.org/api/http.html#responsesocket). Only stopping the parser is not part of node's documented
 * interface; a connection where it is not possible is closed. The server needs `requireHostHeader: false`, or node answers
 * requests without that header by itself, all that one read brings.
 */
export function createRequestGate(server: Server): RequestGate {
  const connections = new WeakMap<object, Connection>();
  server.on('connection', (socket: Socket) => {
    const parser = parserOf(socket);
    if (parser !== undefined) connections.set(socket, new Connection(socket, parser));
  });
  // Without this node answers such requests by itself, all that one read brings.
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
  return {
    postpone: ({ socket }, response, begin) => {
      const connection = connections.get(socket);
      if (connection === undefined) socket.destroy();
      else connection.postpone(response, begin);
    },
    ignoreRest: (socket) => connections.get(socket)?.end(),
    hasStopped: (error, socket) => connections.get(socket)?.hasStopped(error) ?? false,
  };
}

/** The part of node's parser that is used (`lib/_http_common.js`). */
interface Parser {
  /** Called with each request. What it returns, llhttp takes for the result of its `on_headers_complete`. */
  onIncoming: (request: unknown, shouldKeepAlive: unknown) => unknown;
  readonly resume: () => void;
}

/** llhttp's HPE_PAUSED (https://github.com/nodejs/llhttp): stop behind the headers, to continue there later. */
const PAUSE = 21;
const PAUSED = 'HPE_PAUSED';

function parserOf(socket: object): Parser | undefined {
  const parser: unknown = Reflect.get(socket, 'parser');
  return isParser(parser) ? parser : undefined;
}

function isParser(value: unknown): value is Parser {
  if (typeof value !== 'object' || value === null) return false;
  return typeof Reflect.get(value, 'onIncoming') === 'function' && typeof Reflect.get(value, 'resume') === 'function';
}

class Connection {
  readonly #socket: Socket;
  readonly #parser: Parser;
  /** Whether the parser stops behind the headers that it is reading. */
  #stops = false;
  /** Whether an answer is waited for before more is parsed. */
  #holds = false;
  #isEnded = false;
  /** Read, and not parsed yet. */
  #held: readonly Buffer[] = [];
  /** Parses; undefined as long as node's parser reads from the socket by itself. */
  #parse: ((bytes: Buffer) => void) | undefined;

  constructor(socket: Socket, parser: Parser) {
    this.#socket = socket;
    this.#parser = parser;
    const { onIncoming } = parser;
    parser.onIncoming = (request, shouldKeepAlive) => {
      const result = onIncoming(request, shouldKeepAlive);
      return this.#stops ? PAUSE : result;
    };
  }

  postpone(response: ServerResponse, begin: () => void): void {
    this.#stops = true;
    if (this.#isEnded) return;
    // node gives the socket to the next response when the one before is sent.
    response.once('socket', () =>
      setImmediate(() => {
        if (!this.#socket.destroyed) begin();
      }),
    );
    response.once('close', () => setImmediate(() => this.#proceed()));
  }

  end(): void {
    this.#isEnded = true;
    this.#stops = !this.#holds;
    this.#held = [];
  }

  hasStopped(error: Error): boolean {
    if (!this.#stops || Reflect.get(error, 'code') !== PAUSED) return false;
    if (this.#isEnded) {
      this.#socket.pause();
      return true;
    }
    this.#stops = false;
    this.#holds = true;
    // In this order: what is paused while the parser reads from it does not keep reading without the parser.
    this.#readInstead();
    this.#socket.pause();
    this.#parser.resume();
    const bytes: unknown = Reflect.get(error, 'rawPacket');
    const parsed: unknown = Reflect.get(error, 'bytesParsed');
    if (Buffer.isBuffer(bytes) && typeof parsed === 'number' && parsed < bytes.length) {
      this.#held = [bytes.subarray(parsed), ...this.#held];
    }
    return true;
  }

  /** From now on the gate receives the socket's bytes: node's parser stops reading from a socket that has another listener. */
  #readInstead(): void {
    if (this.#parse !== undefined) return;
    const [parse] = this.#socket.listeners('data');
    this.#parse = (bytes) => void parse?.call(this.#socket, bytes);
    this.#socket.removeAllListeners('data');
    this.#socket.on('data', (bytes: Buffer) => {
      if (this.#isEnded) return;
      if (this.#holds) {
        this.#socket.pause();
        this.#held = [...this.#held, bytes];
      } else this.#parse?.(bytes);
    });
  }

  #proceed(): void {
    if (this.#socket.destroyed || this.#isEnded) return;
    const [first, second] = this.#held;
    const bytes = first !== undefined && second === undefined ? first : Buffer.concat(this.#held);
    this.#held = [];
    this.#holds = false;
    if (bytes.length > 0) this.#parse?.(bytes);
    if (!this.#holds && !this.#isEnded) this.#socket.resume();
  }
}
