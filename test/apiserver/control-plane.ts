import { generateKeyPairSync } from 'node:crypto';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createAuthority } from '#pki/authority.ts';
import { type Child, startChild } from '#sandbox/child.ts';
import { kubeconfig } from '#sandbox/kubernetes-api/kubeconfig.ts';

import { eventually } from '../support/eventually.ts';
import { type ApiClient, apiClient } from '../support/api-client.ts';

/** How long the API server's caches take to be filled on a busy machine. */
const READY_LIMIT_MS = 120_000;
const COMPACTION_INTERVAL_S = 2;

/** The nodes whose kubelets have credentials of their own. */
export const NODES = [
  { name: 'node-1', address: '127.0.0.1' },
  { name: 'node-2', address: '127.0.0.2' },
] as const;

export type NodeName = (typeof NODES)[number]['name'];

/**
 * etcd and the API server of Kubernetes, without a scheduler, controllers and kubelets: what envtest starts, and with the
 * authorizers and the admission that hold a kubelet to its node.
 */
export interface ControlPlane {
  /** For files that go with it. */
  readonly folder: string;
  /** As a member of system:masters. */
  readonly admin: ApiClient;
  readonly adminKubeconfig: string;
  /** What a client must know to reach the API with the token that a file holds; a path of a kubeconfig. */
  kubeconfigOf(name: string, token: string): Promise<string>;
  as(token: string): ApiClient;
  /** As the kubelet of a node: what root on that node can do. */
  asKubelet(node: NodeName): ApiClient;
  /** Resolves once etcd has forgotten everything up to now, so that no watch can go on from here. */
  compacted(): Promise<void>;
  /** Ends the API server at once, as a crash does, and starts it again. */
  restartApiServer(): Promise<void>;
  /** Restarts the API server with another key for ServiceAccounts' tokens; what the key before has signed stays good. */
  rotateSigningKey(): Promise<void>;
  /** Ends both, keeps a copy of what etcd holds, and starts them again. */
  backUp(): Promise<void>;
  /** Ends both, puts the copy in place of what etcd holds, and starts them anew: revisions go back with it. */
  restore(): Promise<void>;
  stop(): Promise<void>;
}

export interface ControlPlaneOptions {
  /** Whether MutatingAdmissionPolicies count, and the ServiceAccounts of pods: whoever makes a pod makes its account first. */
  readonly mutates?: boolean;
}

/** Starts both on free ports of 127.0.0.1 with the flags that envtest gives, and resolves once the API is ready. */
export async function startControlPlane(
  assets: string,
  { mutates = false }: ControlPlaneOptions = {},
): Promise<ControlPlane> {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-apiserver-'));
  const [etcdPort, peerPort, apiPort] = [await freePort(), await freePort(), await freePort()];
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const environment = { PATH: process.env['PATH'] ?? '', HOME: folder };
  const data = join(folder, 'etcd');
  const backup = join(folder, 'etcd-backup');
  const startEtcd = (): Child =>
    startChild({
      name: 'etcd',
      argv: [
        join(assets, 'etcd'),
        `--data-dir=${data}`,
        `--listen-client-urls=${etcdUrl}`,
        `--advertise-client-urls=${etcdUrl}`,
        `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
        `--initial-advertise-peer-urls=http://127.0.0.1:${peerPort}`,
        `--initial-cluster=default=http://127.0.0.1:${peerPort}`,
        '--unsafe-no-fsync',
      ],
      environment,
    });
  const authority = await createAuthority({ commonName: 'kubernetes' });
  const flags = await apiServerFlags({ folder, authority, etcdUrl, port: apiPort, mutates });
  const newKeys: string[] = [];
  const start = (): Child =>
    startChild({ name: 'kube-apiserver', argv: [join(assets, 'kube-apiserver'), ...flags, ...newKeys], environment });

  const url = `https://127.0.0.1:${apiPort}`;
  const configOf = (userName: string, token: string): string =>
    kubeconfig({ server: url, authorityPem: authority.certificatePem, userName, user: { token } });
  const as = (token: string): ApiClient => apiClient(configOf('user', token));
  const admin = as(ADMIN_TOKEN);
  let etcd = startEtcd();
  let apiServer = start();
  const ready = async (): Promise<void> => {
    try {
      await eventually(
        'the API server is ready',
        READY_LIMIT_MS,
        async () => (await admin.ask('GET', '/readyz')).status === 200,
      );
    } catch (error) {
      await stop();
      throw new Error(`etcd:\n${tail(etcd)}\nkube-apiserver:\n${tail(apiServer)}`, { cause: error });
    }
  };
  const stop = async (): Promise<void> => {
    await apiServer.stop('SIGKILL');
    await etcd.stop('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  };
  const restartApiServer = async (): Promise<void> => {
    await apiServer.stop('SIGKILL');
    apiServer = start();
    await ready();
  };
  const restartBoth = async (between: () => Promise<void>): Promise<void> => {
    await apiServer.stop('SIGKILL');
    await etcd.stop('SIGTERM');
    await between();
    etcd = startEtcd();
    apiServer = start();
    await ready();
  };
  await ready();

  const kubeconfigOf = async (name: string, token: string): Promise<string> => {
    const path = join(folder, `${name}.kubeconfig`);
    await writeFile(path, configOf(name, token), { mode: 0o600 });
    return path;
  };
  return {
    folder,
    admin,
    adminKubeconfig: await kubeconfigOf('admin', ADMIN_TOKEN),
    kubeconfigOf,
    as,
    asKubelet: (node) => as(kubeletToken(node)),
    compacted: async () => {
      const pods = '/api/v1/pods?limit=1';
      const { resourceVersion } = (await admin.demand('GET', pods)).metadata;
      const then = `${pods}&resourceVersion=${resourceVersion}&resourceVersionMatch=Exact`;
      // The newest revision is never compacted: one must come after this.
      await admin.demand('PATCH', '/api/v1/namespaces/default', { metadata: { labels: { at: resourceVersion } } });
      await eventually('etcd is compacted', READY_LIMIT_MS, async () => (await admin.ask('GET', then)).status === 410);
    },
    restartApiServer,
    rotateSigningKey: async () => {
      const file = join(folder, `service-accounts-${newKeys.length}.pem`);
      await writeFile(file, signingKey(), { mode: 0o600 });
      newKeys.push(`--service-account-key-file=${file}`, `--service-account-signing-key-file=${file}`);
      await restartApiServer();
    },
    backUp: () => restartBoth(() => cp(data, backup, { recursive: true })),
    restore: () =>
      restartBoth(async () => {
        await rm(data, { recursive: true });
        await cp(backup, data, { recursive: true });
      }),
    stop,
  };
}

const ADMIN_TOKEN = 'admin';
const kubeletToken = (node: NodeName): string => `kubelet-of-${node}`;

/** https://kubernetes.io/docs/reference/access-authn-authz/node/ says what makes a user a kubelet. */
const TOKENS = [
  `${ADMIN_TOKEN},admin,admin,system:masters`,
  ...NODES.map(({ name }) => `${kubeletToken(name)},system:node:${name},${name},system:nodes`),
];

async function apiServerFlags(options: {
  folder: string;
  authority: Awaited<ReturnType<typeof createAuthority>>;
  etcdUrl: string;
  port: number;
  mutates: boolean;
}): Promise<readonly string[]> {
  const { folder, authority, etcdUrl, port, mutates } = options;
  const serving = await authority.issue({
    commonName: 'kube-apiserver',
    usage: 'server',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
  });
  const path = (name: string): string => join(folder, name);
  await mkdir(path('certificates'), { recursive: true });
  await writeFile(path('serving.pem'), serving.certificatePem);
  await writeFile(path('serving-key.pem'), serving.privateKeyPem, { mode: 0o600 });
  await writeFile(path('service-accounts.pem'), signingKey(), { mode: 0o600 });
  await writeFile(path('tokens.csv'), TOKENS.map((line) => `${line}\n`).join(''), { mode: 0o600 });
  return [
    `--etcd-servers=${etcdUrl}`,
    // kube2iam's DaemonSet is.
    '--allow-privileged=true',
    `--etcd-compaction-interval=${COMPACTION_INTERVAL_S}s`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    `--secure-port=${port}`,
    `--cert-dir=${path('certificates')}`,
    `--tls-cert-file=${path('serving.pem')}`,
    `--tls-private-key-file=${path('serving-key.pem')}`,
    `--token-auth-file=${path('tokens.csv')}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${path('service-accounts.pem')}`,
    `--service-account-signing-key-file=${path('service-accounts.pem')}`,
    '--service-cluster-ip-range=10.0.0.0/24',
    // No controller makes the namespaces' default accounts.
    ...(mutates ? MUTATING : ['--disable-admission-plugins=ServiceAccount']),
  ];
}

/** On from Kubernetes 1.36. */
const MUTATING = [
  '--feature-gates=MutatingAdmissionPolicy=true',
  '--runtime-config=admissionregistration.k8s.io/v1beta1=true',
];

function signingKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** A port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

function tail({ lines }: Child): string {
  return lines.slice(-10).join('\n');
}
