import { readFileSync, writeFileSync } from 'node:fs';

import { isMap, isScalar, type Node, type Pair, parseDocument, type YAMLMap } from 'yaml';

const CHART = new URL('../../deploy/helm/kiam/', import.meta.url);

const TOP = `# Helm chart kiam

AWS credentials for pods through the EC2 metadata API: an agent on every node, two servers, and what they may do. Two commands from nothing to the first credentials:

\`\`\`
helm install kiam deploy/helm/kiam --namespace kube-system
kubectl apply -f deploy/examples/application.yaml
\`\`\`

The images must be where the nodes can pull them (\`agent.image.repository\`, \`server.image.repository\`), and the servers' role must be allowed to assume the pods' roles: [docs/installing.md](../../../docs/installing.md).

## Certificates

Where none are given the chart makes a CA and both pairs, and keeps them in the Secrets \`<release>-generated-ca\`, \`-generated-agent\` and \`-generated-server\`. Whoever may read Secrets there, or Helm's own records of the release, has the key of the CA: for one that no cluster holds use \`kiam pki\`.
\`helm upgrade\` changes neither the CA nor a pair, but for one of which fewer than 90 days of 365 are left: upgrade at least every nine months. Both daemons take a renewed pair into use without a restart. The CA lasts ten years and stays when the release is removed.

A chart that is only rendered (\`helm template\`, Argo CD) does not see what is in the cluster and refuses: set \`generateCertificates\` to \`never\` and make the Secrets with \`kiam pki\`, or \`certManager.enabled\` to \`true\`.

## Values

The names are those of Kiam's own chart. This table is made of values.yaml by \`npm run chart-readme\`.

| value | default | meaning |
|---|---|---|
`;

/** The chart's README: its values with their defaults, and what values.yaml says above each of them. */
export function chartReadme(values: string): string {
  const { contents } = parseDocument(values);
  if (!isMap(contents)) throw new Error('values.yaml is no map');
  return `${TOP}${rowsOf(contents, '').join('\n')}\n`;
}

function rowsOf(map: YAMLMap, path: string): string[] {
  return map.items.flatMap((pair, index) => rowsOfPair(pair, index === 0 ? commentOf(map) : '', path));
}

function rowsOfPair({ key, value }: Pair, commentAbove: string, path: string): string[] {
  const name = isScalar(key) ? String(key.value) : '';
  const full = path === '' ? name : `${path}.${name}`;
  // The comment above a map's first value belongs to the map.
  const meaning = [commentAbove, isScalar(key) ? (key.commentBefore ?? '') : '']
    .filter((text) => text !== '')
    .join('\n');
  const said = meaning.replaceAll(/\n ?/g, ' ').trim();
  if (isMap(value) && value.items.length > 0) {
    const rows = rowsOf(value, full);
    return said === '' ? rows : [row(full, '', said), ...rows];
  }
  return [row(full, defaultOf(value), said)];
}

function row(name: string, value: string, meaning: string): string {
  return `| \`${name}\` | ${value === '' ? '' : `\`${value}\``} | ${meaning.replaceAll('|', '\\|')} |`;
}

function commentOf(map: YAMLMap): string {
  return map.commentBefore ?? '';
}

function defaultOf(value: unknown): string {
  const plain = (value as Node | null)?.toJSON() ?? null;
  return JSON.stringify(plain);
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  writeFileSync(new URL('README.md', CHART), chartReadme(readFileSync(new URL('values.yaml', CHART), 'utf8')));
}
