import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';

import { canonicalAddress } from '#domain/address.ts';
import type { Clock } from '#runtime/clock.ts';
import { hostOptions } from '#runtime/listen.ts';
import type { ListenAddress } from '#telemetry/listen-address.ts';

import { checkOfAnyUsage } from './any-usage.ts';
import type { CertificateWatcher } from './certificate-watcher.ts';
import type { CertificateSnapshot } from './certificates.ts';
import { HandshakeTurns } from './handshake-turns.ts';
import type { HandshakeMetrics } from './metrics.ts';

export interface TlsListenerOptions {
  readonly certificates: Pick<CertificateWatcher, 'subscribe'>;
  readonly clock: Clock;
  readonly metrics: HandshakeMetrics;
  /** Called at the end of each handshake, with the client's address in canonical form. */
  readonly onHandshake: (address: string, isDone: boolean) => void;
  /** Takes over a connection whose client has shown a certificate of the authority. */
  readonly onConnection: (socket: TLSSocket) => void;
}

/** How long a client may take for its part of the handshake. */
const HANDSHAKE_MS = 5000;

/** How many connections the kernel accepts ahead of us: when all agents of a cluster come back, they come at once. */
const BACKLOG = 4096;

/**
 * Accepts connections, lets their TLS handshakes take turns, and hands over those that succeed. A client certificate of the
 * authority is required. Handshakes use the certificates in force when they begin.
 */
export class TlsListener {
  readonly #options: TlsListenerOptions;
  readonly #server: Server;
  /** With the certificates in force; undefined before there are any. */
  #tls: TlsServer | undefined;
  readonly #turns: HandshakeTurns<Socket>;
  /** Connections in their handshake, by the client's address and port. */
  readonly #begun = new Map<string, Socket>();
  readonly #unsubscribe: () => void;

  constructor(options: TlsListenerOptions) {
    this.#options = options;
    this.#unsubscribe = options.certificates.subscribe((snapshot) => {
      this.#tls = this.#tlsWith(snapshot);
    });
    this.#turns = new HandshakeTurns({
      clock: options.clock,
      begin: (socket) => this.#begin(socket),
      refuse: (socket) => {
        options.metrics.refused.inc();
        socket.destroy();
      },
    });
    options.metrics.followWaiting(() => this.#turns.waiting);
    this.#server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => this.#arrived(socket));
  }

  /** Listens and resolves to the port. Rejects when the address cannot be bound. */
  listen({ host, port }: ListenAddress): Promise<number> {
    return new Promise((resolve, reject) => {
      // Stays registered: running out of file descriptors must not end the process.
      this.#server.on('error', reject);
      this.#server.listen({ port, backlog: BACKLOG, ...hostOptions(host) }, () => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** Accepts no more, closes what has not finished its handshake, and resolves when no connection is left. */
  close(): Promise<void> {
    this.#unsubscribe();
    this.#turns.close();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #tlsWith(snapshot: CertificateSnapshot): TlsServer {
    const isOurs = checkOfAnyUsage(snapshot, 'client');
    const server = createTlsServer({
      cert: snapshot.certificatePem,
      key: snapshot.privateKeyPem,
      ca: snapshot.caPem,
      requestCert: true,
      rejectUnauthorized: isOurs === undefined,
      ALPNProtocols: ['h2'],
      handshakeTimeout: HANDSHAKE_MS,
    });
    server.on('secureConnection', (socket) => {
      if (isOurs === undefined || isOurs(socket, socket.getPeerX509Certificate())) this.#succeeded(socket);
      else socket.destroy();
    });
    // Node only tells of a handshake that is out of time: the connection is ours to close.
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    return server;
  }

  #arrived(socket: Socket): void {
    // Clients that break the protocol or leave are not logged.
    socket.on('error', () => {});
    const peer = peerOf(socket);
    const address = addressOf(socket);
    socket.on('close', () => this.#ended(socket, peer, address));
    if (this.#tls === undefined) socket.destroy();
    else this.#turns.arrive(socket.remoteAddress ?? '', socket);
  }

  #begin(socket: Socket): void {
    this.#begun.set(peerOf(socket), socket);
    this.#tls?.emit('connection', socket);
  }

  #succeeded(secure: TLSSocket): void {
    secure.on('error', () => {});
    const peer = peerOf(secure);
    const socket = this.#begun.get(peer);
    // It was refused in the meantime, or closed.
    if (socket === undefined) return void secure.destroy();
    this.#options.metrics.done.inc();
    this.#options.onHandshake(addressOf(socket), true);
    this.#begun.delete(peer);
    this.#options.onConnection(secure);
    return this.#turns.ended(socket);
  }

  #ended(socket: Socket, peer: string, address: string): void {
    if (this.#begun.get(peer) === socket) {
      this.#begun.delete(peer);
      this.#options.metrics.failed.inc();
      this.#options.onHandshake(address, false);
    }
    this.#turns.ended(socket);
  }
}

function addressOf({ remoteAddress = '' }: Socket): string {
  return canonicalAddress(remoteAddress) ?? '';
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
