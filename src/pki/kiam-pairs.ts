import { isIP } from 'node:net';

import type { Authority, KeyPairPem } from './authority.ts';

/** What the two daemons read, as their Secrets hold it. */
export interface KiamCertificates {
  /** Every authority that either side trusts, the issuing one first. */
  readonly authoritiesPem: string;
  readonly server: KeyPairPem;
  readonly agent: KeyPairPem;
}

export interface PairRequest {
  readonly authority: Authority;
  /** DNS names and IP addresses that the server answers to. */
  readonly serverNames: readonly string[];
  /** A year from now unless given. */
  readonly notAfter?: Date;
}

/**
 * The names under which agents and people find the server: each form of a Service's name
 * (https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/), and the loopback for `kiam health` beside it.
 */
export function serverNamesIn(namespace: string): readonly string[] {
  const service = `kiam-server.${namespace}`;
  return ['kiam-server', service, `${service}.svc`, `${service}.svc.cluster.local`, 'localhost', '127.0.0.1'];
}

/**
 * Issues the server's pair and the agents', which is for clients alone. The server's is good for a client as well: Kiam's
 * manifests probe a server by `kiam health` with its own pair.
 */
export async function issuePairs({
  authority,
  serverNames,
  ...validity
}: PairRequest): Promise<Pick<KiamCertificates, 'server' | 'agent'>> {
  const server = await authority.issue({
    ...validity,
    commonName: serverNames[0] ?? 'kiam-server',
    usage: 'both',
    dnsNames: serverNames.filter((name) => isIP(name) === 0),
    ipAddresses: serverNames.filter((name) => isIP(name) !== 0),
  });
  const agent = await authority.issue({ ...validity, commonName: 'kiam-agent', usage: 'client' });
  return { server, agent };
}
