import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXTERNAL_ID_ANNOTATION, ROLE_ANNOTATION, SESSION_NAME_ANNOTATION } from '#domain/pod.ts';
import { PERMITTED_ANNOTATION } from '#domain/namespace.ts';
import { type Clock, systemClock } from '#runtime/clock.ts';
import { type Authority, createAuthority } from '#pki/authority.ts';
import { environmentOf, type WorldEnvironment } from './environment.ts';
import type { ListenAddress } from './http-listener.ts';
import type { InstanceFacts } from './instance.ts';
import { type InstanceMetadata, startInstanceMetadata } from './instance-metadata.ts';
import { type JsonObject, listAt, textAt } from './json.ts';
import { type Rule, SERVER_RULES } from './kubernetes-api/access.ts';
import type { AddressOrder } from './kubernetes-api/addresses.ts';
import { type KubernetesApi, startKubernetesApi } from './kubernetes-api/api.ts';
import type { KubeletTiming, PodHooks, SandboxNode } from './kubernetes-api/kubelet.ts';
import { startSts, type Sts } from './sts/sts.ts';
import { issueCertificateFiles, type CertificateFiles } from './certificate-files.ts';

export interface WorldOptions extends PodHooks {
  /** An existing folder for kubeconfigs, certificates and the HOME of child processes. The caller removes it. */
  readonly folder: string;
  /** PATH for child processes. */
  readonly path: string;
  /** Default: the system's. Certificates follow the system's whatever this is. */
  readonly clock?: Clock;
  /** Default: any free port of 127.0.0.1. */
  readonly addresses?: {
    readonly api?: ListenAddress;
    readonly sts?: ListenAddress;
    readonly metadata?: ListenAddress;
  };
  /** Default `kiam-server`, `localhost` and `127.0.0.1`. */
  readonly serverNames?: readonly string[];
  /** Default one node, `node-1`, at 127.0.0.1. */
  readonly nodes?: readonly SandboxNode[];
  /** Default 127.1.0.0/16: a client takes a pod's place by binding its source address. */
  readonly podAddresses?: readonly string[];
  readonly addressOrder?: AddressOrder;
  /** Default: a start after 5 ms, an end at once. */
  readonly timing?: Partial<KubeletTiming>;
  /** What the instance says about itself. Account 123456789012, eu-west-1 and role `node` by default. */
  readonly instance?: Partial<InstanceFacts>;
  readonly requireMetadataToken?: boolean;
  readonly stsOverHttps?: boolean;
  /** Whether STS refuses requests that were signed off its clock. Default: only with the system's clock. */
  readonly checkRequestTime?: boolean;
  /** What the kiam server may do in Kubernetes. Default {@link SERVER_RULES}. */
  readonly serverRules?: readonly Rule[];
  readonly bookmarkIntervalMs?: number;
  /** How many changes per resource a watch may lie behind. */
  readonly watchWindow?: number;
}

export interface NewPod {
  readonly namespace: string;
  readonly name: string;
  readonly role?: string;
  readonly sessionName?: string;
  readonly externalId?: string;
  readonly nodeName?: string;
  readonly hostNetwork?: boolean;
  /** Default `default`. */
  readonly serviceAccount?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface WorldPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** The first of its addresses. */
  readonly address: string;
  readonly addresses: readonly string[];
  readonly hostAddress: string;
}

/** Everything that the daemons meet outside of themselves. */
export interface World {
  readonly api: KubernetesApi;
  readonly sts: Sts;
  readonly metadata: InstanceMetadata;
  /** Signs the certificates of kiam's server and agents. */
  readonly authority: Authority;
  readonly accountId: string;
  readonly region: string;
  /** `arn:aws:iam::<account>:role/`, for `--role-base-arn`. */
  readonly roleBaseArn: string;
  readonly folder: string;
  /** Paths of kubeconfig files: for kubectl, and for the kiam server. */
  readonly kubeconfigs: { readonly admin: string; readonly server: string };
  /** Paths, named like Kiam's secrets. */
  readonly certificates: CertificateFiles;
  /** Environments for child processes, in pieces; none holds anything of the caller's own but PATH. */
  readonly environment: WorldEnvironment;
  /** Creates a namespace, or changes one that exists; without an expression it permits nothing. */
  namespace(name: string, permitted?: string): void;
  /** Creates a pod and resolves once it has its address. */
  pod(pod: NewPod): Promise<WorldPod>;
  close(): Promise<void>;
}

const POD_WAIT_MS = 10_000;

/** Starts the Kubernetes API, STS, instance metadata and a certificate authority, and writes what the daemons read. */
export async function startWorld(options: WorldOptions): Promise<World> {
  const { folder, clock = systemClock, addresses = {}, nodes = [{ name: 'node-1', address: '127.0.0.1' }] } = options;
  const authority = await createAuthority({ commonName: 'kiam sandbox' });
  const certificates = await issueCertificateFiles({ authority, folder, serverNames: options.serverNames });
  const facts = instanceFacts(options.instance ?? {});
  const sts = await startSts({
    clock,
    address: addresses.sts,
    checkRequestTime: options.checkRequestTime ?? clock === systemClock,
    tls: options.stsOverHttps === true ? await stsCertificate(authority, addresses.sts) : undefined,
  });
  const metadata = await startInstanceMetadata({
    clock,
    sts,
    facts,
    address: addresses.metadata,
    requireToken: options.requireMetadataToken,
  });
  const api = await startKubernetesApi({
    clock,
    authority: await createAuthority({ commonName: 'kubernetes' }),
    address: addresses.api,
    nodes,
    podAddresses: options.podAddresses ?? ['127.1.0.0/16'],
    addressOrder: options.addressOrder ?? 'rotate',
    timing: { startDelayMs: 5, terminationDelayMs: 0, ...options.timing },
    bookmarkIntervalMs: options.bookmarkIntervalMs,
    window: options.watchWindow,
    onPodRunning: options.onPodRunning,
    onPodGone: options.onPodGone,
  });
  const kubeconfigs = { admin: join(folder, 'admin.kubeconfig'), server: join(folder, 'server.kubeconfig') };
  await writeFile(kubeconfigs.admin, api.adminKubeconfig(), { mode: 0o600 });
  await writeFile(kubeconfigs.server, api.identity('kiam-server', options.serverRules ?? SERVER_RULES), {
    mode: 0o600,
  });
  return {
    api,
    sts,
    metadata,
    authority,
    accountId: facts.accountId,
    region: facts.region,
    roleBaseArn: `arn:aws:iam::${facts.accountId}:role/`,
    folder,
    kubeconfigs,
    certificates,
    environment: await environmentOf({
      folder,
      path: options.path,
      region: facts.region,
      accountId: facts.accountId,
      sts,
      metadata,
      authorityFile: options.stsOverHttps === true ? certificates.ca : undefined,
    }),
    namespace: (name, permitted) => putNamespace(api, name, permitted),
    pod: (pod) => createPod(api, pod),
    close: async () => {
      await Promise.all([api.close(), sts.close(), metadata.close()]);
    },
  };
}

function instanceFacts(given: Partial<InstanceFacts>): InstanceFacts {
  const region = given.region ?? 'eu-west-1';
  return {
    instanceId: 'i-0sandbox00000001',
    accountId: '123456789012',
    region,
    availabilityZone: `${region}a`,
    localIpv4: '127.0.0.1',
    roleName: 'node',
    userData: '',
    ...given,
  };
}

function stsCertificate(authority: Authority, address: ListenAddress | undefined): ReturnType<Authority['issue']> {
  const ipAddresses = [...new Set(['127.0.0.1', address?.host ?? '127.0.0.1'])];
  return authority.issue({
    commonName: 'sts',
    usage: 'server',
    dnsNames: ['localhost', 'sts.amazonaws.com'],
    ipAddresses,
  });
}

function putNamespace(api: KubernetesApi, name: string, permitted: string | undefined): void {
  const annotations = permitted === undefined ? {} : { [PERMITTED_ANNOTATION]: permitted };
  if (api.namespace(name) === undefined) api.createNamespace({ metadata: { name, annotations } });
  else api.patchNamespace(name, { metadata: { annotations: { [PERMITTED_ANNOTATION]: permitted ?? null } } });
}

async function createPod(api: KubernetesApi, pod: NewPod): Promise<WorldPod> {
  const { namespace, name } = pod;
  const annotations = {
    ...(pod.role === undefined ? {} : { [ROLE_ANNOTATION]: pod.role }),
    ...(pod.sessionName === undefined ? {} : { [SESSION_NAME_ANNOTATION]: pod.sessionName }),
    ...(pod.externalId === undefined ? {} : { [EXTERNAL_ID_ANNOTATION]: pod.externalId }),
    ...pod.annotations,
  };
  const spec: JsonObject = {
    containers: [{ name: 'main', image: 'example.com/app' }],
    ...(pod.hostNetwork === true ? { hostNetwork: true } : {}),
    ...(pod.nodeName === undefined ? {} : { nodeName: pod.nodeName }),
    ...(pod.serviceAccount === undefined ? {} : { serviceAccountName: pod.serviceAccount }),
  };
  api.createPod(namespace, {
    metadata: { name, annotations, ...(pod.labels === undefined ? {} : { labels: pod.labels }) },
    spec,
  });
  const running = await api.waitForPod({
    namespace,
    name,
    signal: pod.signal ?? AbortSignal.timeout(POD_WAIT_MS),
    condition: (seen) => textAt(seen, 'status', 'podIP') !== '',
  });
  const addresses = listAt(running, 'status', 'podIPs').map((entry) => textAt(entry, 'ip'));
  return {
    namespace,
    name,
    uid: textAt(running, 'metadata', 'uid'),
    address: textAt(running, 'status', 'podIP'),
    addresses,
    hostAddress: textAt(running, 'status', 'hostIP'),
  };
}
