import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Authority, KeyPairPem } from '#pki/authority.ts';
import { issuePairs } from '#pki/kiam-pairs.ts';

/** Paths of PEM files, named like those in Kiam's secrets. */
export interface CertificateFiles {
  readonly ca: string;
  readonly serverCertificate: string;
  readonly serverKey: string;
  readonly agentCertificate: string;
  readonly agentKey: string;
}

export interface CertificateFilesOptions {
  readonly authority: Authority;
  /** Must exist. Files in it are replaced. */
  readonly folder: string;
  /** DNS names and IP addresses that the server answers to. */
  readonly serverNames?: readonly string[] | undefined;
}

/** Writes `ca.pem`, `server.pem`, `server-key.pem`, `agent.pem`, `agent-key.pem`; called again, it issues new pairs. */
export async function issueCertificateFiles(options: CertificateFilesOptions): Promise<CertificateFiles> {
  const { authority, folder, serverNames = ['kiam-server', 'localhost', '127.0.0.1'] } = options;
  const { server, agent } = await issuePairs({ authority, serverNames });
  const ca = join(folder, 'ca.pem');
  await writeFile(ca, authority.certificatePem);
  const [serverCertificate, serverKey] = await writePair(folder, 'server', server);
  const [agentCertificate, agentKey] = await writePair(folder, 'agent', agent);
  return { ca, serverCertificate, serverKey, agentCertificate, agentKey };
}

async function writePair(folder: string, name: string, pair: KeyPairPem): Promise<[string, string]> {
  const paths: [string, string] = [join(folder, `${name}.pem`), join(folder, `${name}-key.pem`)];
  await writeFile(paths[0], pair.certificatePem);
  await writeFile(paths[1], pair.privateKeyPem, { mode: 0o600 });
  return paths;
}
