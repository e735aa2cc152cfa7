import type { KiamCertificates } from './kiam-pairs.ts';

/**
 * The two Secrets as manifests, under the names and keys that Kiam's users have and our manifests mount. Values are base64, so
 * nothing in them can mean anything to YAML (https://kubernetes.io/docs/concepts/configuration/secret/).
 */
export function secretManifests({ authoritiesPem, server, agent }: KiamCertificates, namespace: string): string {
  return [
    secret('kiam-server-tls', namespace, 'server', [
      ['ca.pem', authoritiesPem],
      ['server.pem', server.certificatePem],
      ['server-key.pem', server.privateKeyPem],
    ]),
    secret('kiam-agent-tls', namespace, 'agent', [
      ['ca.pem', authoritiesPem],
      ['agent.pem', agent.certificatePem],
      ['agent-key.pem', agent.privateKeyPem],
    ]),
  ].join('---\n');
}

function secret(
  name: string,
  namespace: string,
  role: string,
  entries: readonly (readonly [string, string])[],
): string {
  const data = entries.map(([key, value]) => `  ${key}: ${Buffer.from(value).toString('base64')}\n`).join('');
  return [
    'apiVersion: v1\nkind: Secret\ntype: Opaque\nmetadata:\n',
    `  name: ${name}\n  namespace: ${namespace}\n  labels: { app: kiam, role: ${role} }\n`,
    `data:\n${data}`,
  ].join('');
}
