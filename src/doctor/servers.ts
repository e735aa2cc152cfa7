import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';

import type { CertificateSnapshot } from '#rpc/certificates.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { createGrpcMetrics } from '#telemetry/grpc-metrics.ts';
import { formatListenAddress } from '#telemetry/listen-address.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { type Observation, ok, wrong } from './finding.ts';
import { shakeHands } from './handshake.ts';

export interface ServersOptions {
  readonly host: string;
  readonly port: number;
  readonly snapshot: CertificateSnapshot;
  /** How long a server may take to answer, in milliseconds. */
  readonly limitMs: number;
  readonly signal: AbortSignal;
  /** The addresses of a name; rejects when there are none. Default: as gRPC finds them. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

/** Checks every server that the agent may use: the name's addresses, and TLS and GetHealth at each of them. Never rejects. */
export async function checkServers(options: ServersOptions): Promise<Observation[]> {
  const { host, port, resolve = resolveAsGrpc } = options;
  if (isIP(host) !== 0) return checkServer(options, host);
  let addresses: readonly string[];
  try {
    addresses = await resolve(host);
  } catch (error) {
    return [wrong(`${host} cannot be resolved: ${codeOf(error)}`, FIX_DNS)];
  }
  const each = await Promise.all(addresses.map((address) => checkServer(options, address)));
  return [ok(`${host}:${port} is ${addresses.join(', ')}`), ...each.flat()];
}

/** @grpc/grpc-js, resolver-dns.ts */
async function resolveAsGrpc(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true });
  return [...new Set(found.map(({ address }) => address))];
}

const FIX_DNS =
  'an agent with hostNetwork needs `dnsPolicy: ClusterFirstWithHostNet`, and the headless Service kiam-server must have ' +
  'ready pods: `kubectl -n kube-system get endpoints kiam-server`';

async function checkServer(options: ServersOptions, address: string): Promise<Observation[]> {
  const { host, port, snapshot, limitMs, signal } = options;
  const place = formatListenAddress({ host: address, port });
  const handshake = await shakeHands({ address, port, serverName: host, snapshot, limitMs });
  if (!handshake.ok) return [wrong(`${place} ${handshake.says}`, handshake.fix)];
  const client = new KiamClient({
    contract: loadContract(),
    serverAddress: place,
    serverName: host,
    certificates: { current: snapshot, problem: undefined, subscribe: publishOnce(snapshot) },
    keepalive: { timeMs: 10_000, timeoutMs: 2000, permitWithoutStream: false },
    counters: createGrpcMetrics(createRegistry({ processMetrics: false }), 'client'),
  });
  try {
    await client.waitUntilConnected(limitMs);
    const answer = await client.call('GetHealth', {}, { timeoutMs: limitMs, signal });
    if (answer.ok) return [ok(`${place} answers for ${host}: ${answer.response.message}`)];
    // With TLS 1.3 the client has finished before the server looks at its certificate (RFC 8446, 4.4.2.4).
    const fix =
      'the server’s own log says why; if it is the agent’s certificate, its --ca must hold the CA that issued it';
    return [wrong(`${place} has a good certificate, but does not answer GetHealth: ${answer.details}`, fix)];
  } finally {
    client.close();
  }
}

function publishOnce(snapshot: CertificateSnapshot) {
  return (listener: (snapshot: CertificateSnapshot) => void): (() => void) => {
    listener(snapshot);
    return () => {};
  };
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
