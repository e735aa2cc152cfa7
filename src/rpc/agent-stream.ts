import type { Metadata, ServerWritableStream } from '@grpc/grpc-js';

import type { NodeUpdate, WatchNodeRequest } from './contract.ts';

/** The open end of one agent's stream. */
export interface AgentStream {
  /** Aborts when the agent has disconnected, or when a newer stream has replaced this one. */
  readonly signal: AbortSignal;
  /** The agent's address and port, as the socket tells them. */
  readonly peer: string;
  /** The service account token that came with the call; `''` for none. */
  readonly token: string;
  /** The fingerprint of the certificate that the connection was opened with; `''` when it is not known. */
  readonly certificate: () => string;
  /** Ends the stream because a newer one replaces it: `signal` aborts, and the agent gets a status that says so. */
  giveWay(): void;
  /** Sends one update; false when the agent is slow to read, and no more should be sent until `drained`. */
  send(update: NodeUpdate): boolean;
  /** Resolves when the agent has read what was sent, or has disconnected. */
  drained(): Promise<void>;
}

/**
 * Serves one agent for as long as it stays; resolves to end the stream. `unproven`: the agent's node is not known, so there is
 * no stream for it, as from a server that does not know the method. `unknown`: that cannot be told now; what the agent holds
 * is still worth something.
 */
export type WatchNodeHandler = (request: WatchNodeRequest, stream: AgentStream) => Promise<StreamOutcome>;

export type StreamOutcome = 'ended' | 'unproven' | 'unknown';

export type NodeCall = ServerWritableStream<WatchNodeRequest, NodeUpdate>;

/** A stream, and how it ended. */
export interface OpenStream extends AgentStream {
  readonly hasGivenWay: () => boolean;
}

export function openStream(call: NodeCall, onSent: () => void): OpenStream {
  let hasGivenWay = false;
  const controller = new AbortController();
  call.on('cancelled', () => controller.abort());
  call.on('error', () => controller.abort());
  return {
    signal: controller.signal,
    peer: call.getPeer(),
    token: tokenOf(call.metadata),
    certificate: () => certificateOf(call),
    hasGivenWay: () => hasGivenWay,
    giveWay: () => {
      hasGivenWay = true;
      controller.abort();
    },
    send: (update) => {
      if (controller.signal.aborted) return false;
      onSent();
      return call.write(update);
    },
    drained: () =>
      new Promise((resolve) => {
        const finish = (): void => {
          call.off('drain', finish);
          controller.signal.removeEventListener('abort', finish);
          resolve();
        };
        call.once('drain', finish);
        controller.signal.addEventListener('abort', finish);
        if (controller.signal.aborted) finish();
      }),
  };
}

/** The fingerprint of the certificate that a call's connection was opened with; `''` when it is not known. */
export function certificateOf(call: Pick<NodeCall, 'getAuthContext'>): string {
  return call.getAuthContext().sslPeerCertificate?.fingerprint256 ?? '';
}

/** The service account token that came with a call; `''` for none. */
export function tokenOf(metadata: Metadata): string {
  const value = metadata.get('authorization')[0];
  return typeof value === 'string' && value.startsWith('Bearer ') ? value.slice('Bearer '.length) : '';
}
