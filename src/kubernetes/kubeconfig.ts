import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { KubeConfig, loadYaml, type Cluster, type User } from '@kubernetes/client-node';
import type { ExecPlugin } from './exec-plugin.ts';
import { field, listField, textField } from './json-fields.ts';

/** The API server's address and the credentials for it: one context of a kubeconfig, or a pod's service account. */
export interface ClusterConfig {
  readonly url: URL;
  /** `proxy-url` of the cluster. It takes precedence over the environment and has no exceptions, as in client-go. */
  readonly proxy: URL | undefined;
  /** Knows TLS settings, the token, user and password, and the user to impersonate. Certificates are read for every request. */
  readonly kubeConfig: KubeConfig;
  /** Read again every minute. */
  readonly tokenFile: string | undefined;
  readonly exec: ExecPlugin | undefined;
  /** What is impersonated besides the user's name. */
  readonly headers: Readonly<Record<string, string | string[]>>;
}

/** An API server given by flags, without a kubeconfig. */
export interface NamedApiServer {
  /** `''` for that of the kubeconfig or the cluster. */
  readonly server: string;
  readonly token: string;
  /** Does not verify the certificate of whichever API server it is. */
  readonly insecure: boolean;
}

const NOT_NAMED: NamedApiServer = { server: '', token: '', insecure: false };

/**
 * Reads a kubeconfig, or the service account that a pod in the cluster has where `path` is `''`. Throws an Error that says why
 * when there is no usable configuration. client-node reads the file; what client-go knows and it does not is added here: a user's
 * `tokenFile`, data before files, `as-groups`, `as-uid`, `as-user-extra`, and paths relative to the file
 * (k8s.io/client-go, tools/clientcmd/api/v1/types.go and client_config.go).
 */
export function loadClusterConfig(path: string, named: NamedApiServer = NOT_NAMED): ClusterConfig {
  const kubeConfig = new KubeConfig();
  let raw: unknown;
  if (path !== '') raw = loadFile(kubeConfig, path);
  else if (named.server === '') kubeConfig.loadFromCluster();
  else kubeConfig.loadFromClusterAndUser(clusterNamed(named), { name: 'named', token: named.token });
  const cluster = kubeConfig.getCurrentCluster();
  const user = kubeConfig.getCurrentUser() ?? { name: 'nobody' };
  if (cluster === null || !URL.canParse(cluster.server) || cluster.server.includes('//undefined')) {
    throw new Error(
      path === ''
        ? 'this is no pod of a cluster (KUBERNETES_SERVICE_HOST is not set): give --kubeconfig'
        : `${path} names no cluster with a valid server in its current context`,
    );
  }
  const url = new URL(cluster.server);
  const rawUser = userNamed(raw, user.name);
  const folder = dirname(resolve(path));
  const tokenFile = tokenFileOf(user, rawUser, folder);
  kubeConfig.loadFromClusterAndUser(
    clusterFor({ ...cluster, skipTLSVerify: cluster.skipTLSVerify || named.insecure }, url),
    userFor(user, tokenFile !== undefined),
  );
  return {
    url,
    proxy: parseProxy(path, cluster.proxyUrl),
    kubeConfig,
    tokenFile,
    exec: execOf(user, tokenFile, folder, { cluster, url }),
    headers: impersonationOf(rawUser),
  };
}

function loadFile(kubeConfig: KubeConfig, path: string): unknown {
  const text = readFileSync(path, 'utf8');
  const raw: unknown = loadYaml(text);
  if (raw === undefined || raw === null) return undefined;
  kubeConfig.loadFromString(text);
  kubeConfig.makePathsAbsolute(dirname(path));
  return raw;
}

function userNamed(raw: unknown, name: string): unknown {
  return field(
    listField(raw, 'users').find((entry) => textField(entry, 'name') === name),
    'user',
  );
}

function clusterNamed({ server, insecure }: NamedApiServer): Cluster {
  return { name: 'named', server, skipTLSVerify: insecure };
}

function clusterFor({ proxyUrl: _, ...cluster }: Cluster, url: URL): Cluster {
  return {
    ...cluster,
    ...(cluster.caData ? { caFile: '' } : {}),
    // client-node refuses plain http unless TLS verification is off, which says nothing there. kubectl does not refuse it.
    skipTLSVerify: cluster.skipTLSVerify || url.protocol === 'http:',
  };
}

function userFor({ exec: _, authProvider, token, ...user }: User, hasTokenFile: boolean): User {
  return {
    ...user,
    ...(user.certData ? { certFile: '' } : {}),
    ...(user.keyData ? { keyFile: '' } : {}),
    ...(hasTokenFile || isOurs(authProvider) ? {} : { authProvider }),
    ...(hasTokenFile || token === undefined ? {} : { token }),
  };
}

/** client-node's own forms of a token file and of a plugin. */
function isOurs(authProvider: unknown): boolean {
  const config = field(authProvider, 'config');
  return field(config, 'tokenFile') !== undefined || field(config, 'exec') !== undefined;
}

function tokenFileOf(user: User, rawUser: unknown, folder: string): string | undefined {
  const ofAccount = textField(field(user.authProvider, 'config'), 'tokenFile');
  const file = textField(rawUser, 'tokenFile') || ofAccount;
  if (file === '') return undefined;
  return isAbsolute(file) ? file : join(folder, file);
}

/** A token, or a name and a password, go before a plugin. */
function execOf(
  user: User,
  tokenFile: string | undefined,
  folder: string,
  { cluster, url }: { readonly cluster: Cluster; readonly url: URL },
): ExecPlugin | undefined {
  const exec: unknown = user.exec ?? field(field(user.authProvider, 'config'), 'exec');
  const command = textField(exec, 'command');
  if (command === '' || tokenFile !== undefined || user.token || user.username) return undefined;
  return {
    command: command.includes('/') && !isAbsolute(command) ? join(folder, command) : command,
    args: listField(exec, 'args').map(String),
    environment: Object.fromEntries(
      listField(exec, 'env').map((entry) => [textField(entry, 'name'), textField(entry, 'value')]),
    ),
    apiVersion: textField(exec, 'apiVersion'),
    cluster:
      field(exec, 'provideClusterInfo') === true
        ? {
            server: url.href.replace(/\/$/, ''),
            'tls-server-name': cluster.tlsServerName,
            'insecure-skip-tls-verify': cluster.skipTLSVerify,
            'certificate-authority-data': authorityOf(cluster),
            'proxy-url': cluster.proxyUrl,
          }
        : undefined,
  };
}

function authorityOf({ caData, caFile }: Cluster): string | undefined {
  return caData || (caFile ? readFileSync(caFile).toString('base64') : undefined);
}

/** The headers of https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/ beside `Impersonate-User`. */
function impersonationOf(rawUser: unknown): Record<string, string | string[]> {
  const groups = listField(rawUser, 'as-groups').map(String);
  const uid = textField(rawUser, 'as-uid');
  const extra = Object.entries(Object(field(rawUser, 'as-user-extra')));
  return {
    ...(groups.length === 0 ? {} : { 'Impersonate-Group': groups }),
    ...(uid === '' ? {} : { 'Impersonate-Uid': uid }),
    ...Object.fromEntries(
      extra.map(([key, values]) => [
        `Impersonate-Extra-${encodeURIComponent(key)}`,
        Array.isArray(values) ? values.map(String) : [],
      ]),
    ),
  };
}

const PROXY_PROTOCOLS = ['http:', 'https:', 'socks5:'];

function parseProxy(path: string, text: string | undefined): URL | undefined {
  if (text === undefined || text === '') return undefined;
  const proxy = URL.parse(text);
  if (proxy === null || proxy.host === '' || !PROXY_PROTOCOLS.includes(proxy.protocol)) {
    throw new Error(`${path}: the proxy-url of the cluster is no URL of an http, https or socks5 proxy`);
  }
  return proxy;
}
