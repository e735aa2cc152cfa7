import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Authority } from '#pki/authority.ts';
import { type HttpListener, type ListenAddress, listen, LOOPBACK_ANY_PORT } from '../http-listener.ts';
import { textAt } from '../json.ts';
import { Access, ADMIN_RULES, type Rule } from './access.ts';
import { boundRules } from './bound-rules.ts';
import { ApiControls } from './controls.ts';
import { DaemonSets } from './daemon-sets.ts';
import { Delivery } from './delivery.ts';
import { type DirectAccess, directAccess } from './direct.ts';
import { Faults } from './faults.ts';
import { handle, type Handling } from './handler.ts';
import { kubeconfig, type KubeconfigUser } from './kubeconfig.ts';
import { Kubelet, type KubeletOptions } from './kubelet.ts';
import { Lists } from './list.ts';
import { Objects } from './object-writer.ts';
import { NAMESPACES, NODES, PODS, RESOURCES } from './resources.ts';
import { API_AUDIENCE, issueServiceAccountToken, type ServiceAccountToken } from './reviews.ts';
import { onServiceAddresses, serviceAddresses } from './service-addresses.ts';
import { createTokenSigner, type TokenSigner } from './token-signer.ts';
import type { Watch } from './watch.ts';

export interface KubernetesApiOptions extends KubeletOptions {
  /** Signs the server's certificate and its clients'. */
  readonly authority: Authority;
  readonly address?: ListenAddress | undefined;
  /** How many changes per resource a watch may lie behind. Default 50,000. */
  readonly window?: number | undefined;
  /** Default one minute, as the real server's. */
  readonly bookmarkIntervalMs?: number | undefined;
}

/** A stand-in for the Kubernetes API with a kubelet behind it. Objects are JSON as the API has it. */
export interface KubernetesApi extends DirectAccess {
  readonly url: string;
  readonly listener: HttpListener;
  readonly kubelet: Kubelet;
  readonly controls: ApiControls;
  /** Signs tokens of pods, which can be verified by the keys that this API lists. */
  readonly tokens: TokenSigner;
  /** A user with these rules, known by a new token; returns its kubeconfig. */
  identity(name: string, rules: readonly Rule[]): string;
  /** As {@link identity}, known by a client certificate. */
  certificateIdentity(name: string, rules: readonly Rule[]): Promise<string>;
  /** A kubeconfig that may do everything. */
  adminKubeconfig(): string;
  /** Sets a user's rules again; for a service account its full name, `system:serviceaccount:<namespace>:<name>`. */
  grant(userName: string, rules: readonly Rule[]): void;
  serviceAccountToken(request: ServiceAccountToken): string;
  /** The same token in a kubeconfig. */
  serviceAccountKubeconfig(request: ServiceAccountToken): string;
  /** The addresses behind each Service, now and after every change. */
  followServices(listener: (addresses: ReadonlyMap<string, readonly string[]>) => void): void;
  revokeToken(token: string): void;
  close(): Promise<void>;
}

const WINDOW = 50_000;
const MINUTE_MS = 60_000;
const FIRST_NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

export async function startKubernetesApi(options: KubernetesApiOptions): Promise<KubernetesApi> {
  const { clock, authority } = options;
  const objects = new Objects({ clock, window: options.window ?? WINDOW });
  seed(objects, options);
  const pods = objects.collection(PODS);
  const access = new Access({
    clock,
    podExists: ({ namespace, name, uid }) => pods.get(namespace, name)?.object.metadata.uid === uid,
    boundRules: (userName) => boundRules(objects, userName),
  });
  const deliveries = new Map(
    RESOURCES.map((resource) => [resource, new Delivery(clock, objects.collection(resource))]),
  );
  const watches = new Set<Watch>();
  const faults = new Faults();
  const lists = new Lists();
  const tokens = createTokenSigner();
  const controls = new ApiControls({ objects, deliveries, faults, lists, watches });
  const kubelet = new Kubelet(options, objects, pods);
  const daemonSets = new DaemonSets(clock, objects);
  const listener = await serve(options, (authority) => ({
    clock,
    access,
    objects,
    deliveries,
    watches,
    faults,
    lists,
    tokens,
    bookmarkIntervalMs: options.bookmarkIntervalMs ?? MINUTE_MS,
    expiredAs: () => controls.expiredAs,
    authority,
    count: (request, user) => controls.count(request, user.name),
  }));
  const url = `https://${listener.authority}`;
  const config = (userName: string, user: KubeconfigUser): string =>
    kubeconfig({ server: url, authorityPem: authority.certificatePem, userName, user });
  const identity = (name: string, rules: readonly Rule[]): string => {
    access.grant(name, rules);
    const user = { name, uid: '', groups: ['system:authenticated'], extra: {} };
    const token = access.issue({
      user,
      audiences: [API_AUDIENCE],
      expiresAtMs: Number.POSITIVE_INFINITY,
      boundPod: undefined,
    });
    return config(name, { token });
  };
  /** A token for a pod names the pod's node as well (Kubernetes, `pkg/registry/core/serviceaccount/storage/token.go`). */
  const serviceAccountToken = (request: ServiceAccountToken): string => {
    const { namespace, pod } = request;
    const content = pod === undefined ? undefined : pods.get(namespace, pod.name)?.object.content;
    const nodeName = content === undefined ? '' : textAt(content, 'spec', 'nodeName');
    const uid = objects.collection(NODES).get('', nodeName)?.object.metadata.uid ?? '';
    const node = nodeName === '' ? undefined : { name: nodeName, uid };
    return issueServiceAccountToken(access, clock, { ...request, node });
  };
  return {
    ...directAccess(objects),
    url,
    listener,
    kubelet,
    controls,
    tokens,
    identity,
    certificateIdentity: async (name, rules) => {
      access.grant(name, rules);
      return config(name, { certificate: await authority.issue({ commonName: name, usage: 'client' }) });
    },
    adminKubeconfig: () => identity('admin', ADMIN_RULES),
    grant: (userName, rules) => access.grant(userName, rules),
    serviceAccountToken,
    serviceAccountKubeconfig: (request) => config(request.serviceAccount, { token: serviceAccountToken(request) }),
    followServices: (listener) => {
      const tell = (): void => listener(serviceAddresses(objects));
      onServiceAddresses(objects, tell);
      tell();
    },
    revokeToken: (token) => access.revoke(token),
    close: async () => {
      daemonSets.stop();
      kubelet.stop();
      await listener.stop();
    },
  };
}

async function serve(options: KubernetesApiOptions, handling: (authority: string) => Handling): Promise<HttpListener> {
  const { authority, address = LOOPBACK_ANY_PORT } = options;
  const certificate = await authority.issue({
    commonName: 'kubernetes',
    usage: 'server',
    dnsNames: ['kubernetes', 'kubernetes.default.svc', 'localhost'],
    ipAddresses: [...new Set(['127.0.0.1', '::1', address.host])],
  });
  let parts: Handling | undefined;
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    parts ??= handling(listener.authority);
    handle(parts, request, response).catch(() => response.destroy());
  };
  const server = createServer(
    {
      cert: certificate.certificatePem,
      key: certificate.privateKeyPem,
      ca: authority.certificatePem,
      requestCert: true,
      // Clients with a token have no certificate: who asks is found out per request.
      rejectUnauthorized: false,
      requestTimeout: 0,
    },
    onRequest,
  );
  const listener = await listen(server, address);
  return listener;
}

function seed(objects: Objects, { nodes }: KubernetesApiOptions): void {
  for (const name of FIRST_NAMESPACES) objects.create(NAMESPACES, '', { metadata: { name } });
  for (const { name, address, labels = {}, taints } of nodes) {
    objects.create(NODES, '', {
      metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } },
      ...(taints === undefined ? {} : { spec: { taints } }),
      status: {
        addresses: [
          { type: 'InternalIP', address },
          { type: 'Hostname', address: name },
        ],
        conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }],
      },
    });
  }
}
