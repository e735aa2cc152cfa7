import type { KeyPairPem } from '#pki/authority.ts';

export type KubeconfigUser = { readonly token: string } | { readonly certificate: KeyPairPem };

/**
 * A kubeconfig for one cluster and one user. JSON is YAML too, and needs no quoting of its own:
 * https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
 */
export function kubeconfig(options: {
  server: string;
  authorityPem: string;
  userName: string;
  user: KubeconfigUser;
}): string {
  const { server, authorityPem, userName, user } = options;
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'sandbox', cluster: { server, 'certificate-authority-data': base64(authorityPem) } }],
    users: [{ name: userName, user: credentialsOf(user) }],
    contexts: [{ name: 'sandbox', context: { cluster: 'sandbox', user: userName, namespace: 'default' } }],
    'current-context': 'sandbox',
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

function credentialsOf(user: KubeconfigUser): Readonly<Record<string, string>> {
  if ('token' in user) return { token: user.token };
  return {
    'client-certificate-data': base64(user.certificate.certificatePem),
    'client-key-data': base64(user.certificate.privateKeyPem),
  };
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}
