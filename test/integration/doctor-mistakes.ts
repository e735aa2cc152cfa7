import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { MIRROR_ANNOTATION } from '#domain/pod.ts';
import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { World } from '#sandbox/world.ts';

import { joinedAuthorities } from './doctor-pairs.ts';

/** What is planted, and what must be said of it. */
export interface Mistake {
  readonly name: string;
  /** The daemon whose flags are used, or the cluster as a kubeconfig shows it. */
  readonly target: 'agent' | 'server' | 'cluster';
  /** Plants it and returns flags and environment that go with it. */
  readonly plant: (setting: Setting) => Promise<Planted | void> | Planted | void;
  readonly check: string;
  readonly says: RegExp;
  readonly fix: RegExp;
  /** Takes it away where the next one must not meet it. */
  readonly remove?: (setting: Setting) => Promise<void> | void;
}

export interface Planted {
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export interface Setting {
  readonly world: World;
  readonly folder: string;
  readonly serverPort: number;
  /** Writes a pair and returns the flags that name it. */
  readonly pair: (request: PairRequest) => Promise<Planted>;
  /** Listens with answers of its own; closed with everything. */
  readonly listen: (answer: (path: string) => string) => Promise<number>;
}

export interface PairRequest {
  readonly usage: 'client' | 'server';
  readonly names?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Issued by an authority that nobody else knows. */
  readonly isForeign?: boolean;
}

const HOUR_MS = 3_600_000;
const inHours = (hours: number): Date => new Date(Date.now() + hours * HOUR_MS);

export const MISTAKES: readonly Mistake[] = [
  {
    name: 'a flag with a typing error',
    target: 'agent',
    plant: () => ({ flags: ['--iptable'] }),
    check: 'flags',
    says: /unknown flag --iptable/,
    fix: /--help/,
  },
  {
    name: 'a Secret that is mounted elsewhere',
    target: 'agent',
    plant: () => ({ flags: ['--cert=/etc/kiam/tls/nowhere.pem'] }),
    check: 'certificates',
    says: /nowhere\.pem: ENOENT/,
    fix: /kiam-agent-tls is mounted/,
  },
  {
    name: 'the key of another pair',
    target: 'agent',
    plant: ({ world }) => ({ flags: [`--key=${world.certificates.serverKey}`] }),
    check: 'certificates',
    says: /server-key\.pem is not the key of the certificate/,
    fix: /certificate, key and CA of one issue/,
  },
  {
    name: 'a certificate that has expired',
    target: 'server',
    plant: ({ pair }) => pair({ usage: 'server', notBefore: inHours(-48), notAfter: inHours(-1) }),
    check: 'certificates',
    says: /has expired at/,
    fix: /kiam pki --renew/,
  },
  {
    name: 'a certificate in its last hours',
    target: 'server',
    plant: ({ pair }) => pair({ usage: 'server', notBefore: inHours(-1000), notAfter: inHours(5.5) }),
    check: 'certificates',
    says: /ends in 5 hours/,
    fix: /kiam pki --renew/,
  },
  {
    name: 'a clock that is behind',
    target: 'agent',
    plant: ({ pair }) => pair({ usage: 'client', notBefore: inHours(3) }),
    check: 'certificates',
    says: /is not valid before/,
    fix: /set the clock/,
  },
  {
    name: 'the CA of another installation',
    target: 'server',
    plant: ({ pair }) => pair({ usage: 'server', isForeign: true }),
    check: 'certificates',
    says: /was not issued by any certificate of the CA file/,
    fix: /the CA that issued the other side’s certificate/,
  },
  {
    name: 'a server certificate without the name of the Service',
    target: 'server',
    plant: ({ pair }) => pair({ usage: 'server', names: ['kiam', 'localhost'] }),
    check: 'certificates',
    says: /is not for kiam-server, but for DNS:kiam, DNS:localhost/,
    fix: /issue it for kiam-server as well/,
  },
  {
    name: 'a pair of the server in the agent’s Secret',
    target: 'agent',
    plant: ({ pair }) => pair({ usage: 'server' }),
    check: 'certificates',
    says: /is not for a client: its extended key usage is 1\.3\.6\.1\.5\.5\.7\.3\.1/,
    fix: /clientAuth/,
  },
  {
    name: 'the name of a Service that does not exist',
    target: 'agent',
    plant: () => ({ flags: ['--server-address=kiam-server.invalid:9610'] }),
    check: 'servers',
    says: /kiam-server\.invalid cannot be resolved/,
    fix: /ClusterFirstWithHostNet/,
  },
  {
    name: 'the port of the Service in place of the pods’',
    target: 'agent',
    plant: () => ({ flags: ['--server-address=localhost:1'] }),
    check: 'servers',
    says: /127\.0\.0\.1:1 is reached, and nothing listens there/,
    fix: /--bind/,
  },
  {
    name: 'an address that the server’s certificate is not for',
    target: 'agent',
    plant: ({ serverPort }) => ({ flags: [`--server-address=127.0.0.2:${serverPort}`] }),
    check: 'servers',
    says: /is not for 127\.0\.0\.2, but for DNS:kiam-server/,
    fix: /--server-address/,
  },
  {
    name: 'an agent’s certificate that the server does not trust',
    target: 'agent',
    plant: async ({ pair, world }) => {
      const foreign = await pair({ usage: 'client', isForeign: true });
      // The agent trusts both; the server knows nothing of the foreign one.
      return { flags: [...(foreign.flags ?? []), `--ca=${await joinedAuthorities(world, foreign)}`] };
    },
    check: 'servers',
    says: /has a good certificate, but does not answer GetHealth/,
    fix: /--ca must hold the CA that issued it/,
  },
  {
    name: 'a token that is not mounted',
    target: 'agent',
    plant: () => ({ flags: ['--agent-token-file=/var/run/nowhere/token'] }),
    check: 'token',
    says: /ENOENT.*\/var\/run\/nowhere\/token/,
    fix: /projected serviceAccountToken of audience kiam-server/,
  },
  {
    name: 'a token for the API server in place of one for kiam’s',
    target: 'agent',
    plant: async ({ world, folder }) => {
      const path = join(folder, 'token');
      await writeFile(path, world.api.serviceAccountToken({ namespace: 'kube-system', serviceAccount: 'kiam-agent' }));
      return { flags: [`--agent-token-file=${path}`] };
    },
    check: 'token',
    says: /is for https:\/\/kubernetes\.default\.svc and not for kiam-server/,
    fix: /projected serviceAccountToken of audience kiam-server/,
  },
  {
    name: 'a port that another program has',
    target: 'agent',
    plant: async ({ listen }) => ({ flags: [`--port=${await listen(() => 'hello')}`] }),
    check: 'port',
    says: /is in use by another program/,
    fix: /ss -ltnp/,
  },
  {
    name: 'kube2iam on the port of the agent',
    target: 'agent',
    plant: async ({ listen }) => ({
      flags: [
        `--port=${await listen((path) => (path === '/healthz' ? '{"hostIP":"192.0.2.1","instanceId":"i-1"}' : ''))}`,
      ],
    }),
    check: 'port',
    says: /is in use by kube2iam/,
    fix: /give --port another/,
  },
  {
    name: 'an old Kiam on the port of the agent',
    target: 'agent',
    plant: async ({ listen }) => ({ flags: [`--port=${await listen(() => 'pong')}`] }),
    check: 'port',
    says: /is in use by an agent of uswitch\/kiam/,
    fix: /stop what has it/,
  },
  {
    name: 'an agent that does not listen where the redirect leads',
    target: 'agent',
    plant: () => ({ flags: ['--port=1'] }),
    check: 'port',
    says: /nobody listens on port 1/,
    fix: /cannot listen for pods yet/,
  },
  {
    name: 'a metadata service that is switched off',
    target: 'agent',
    plant: ({ world }) => world.metadata.fail(403),
    check: 'metadata',
    says: /answers 403/,
    fix: /HttpEndpoint must be enabled/,
    remove: ({ world }) => world.metadata.fail(undefined),
  },
  {
    name: 'a hop limit of 1 before a server that reads the instance profile',
    target: 'server',
    plant: ({ world }) => {
      world.metadata.keepTokens(true);
      return { flags: [`--metadata-endpoint=${world.metadata.url}`, '--role-base-arn-autodetect'] };
    },
    check: 'base ARN',
    says: /its hop limit is 1/,
    fix: /give the server the host’s network/,
    remove: ({ world }) => world.metadata.keepTokens(false),
  },
  {
    name: 'a ClusterRole without Events',
    target: 'server',
    plant: ({ world }) => world.api.grant('kiam-server', SERVER_RULES.slice(0, 1)),
    check: 'access',
    says: /RBAC does not allow us to patch events/,
    fix: /deploy\/server-rbac\.yaml/,
    remove: ({ world }) => world.api.grant('kiam-server', SERVER_RULES),
  },
  {
    name: 'tokens of agents that the server may not have reviewed',
    target: 'server',
    plant: () => ({ flags: ['--agent-identity=token'] }),
    check: 'access',
    says: /RBAC does not allow us to create tokenreviews\.authentication\.k8s\.io/,
    fix: /deploy\/server-rbac\.yaml/,
  },
  {
    name: 'a kubeconfig whose token is no longer taken',
    target: 'cluster',
    plant: async ({ world, folder }) => {
      const config = await readFile(world.kubeconfigs.admin, 'utf8');
      const path = join(folder, 'stale.kubeconfig');
      await writeFile(path, config.replace(/"?token"?: .*/, 'token: stale'));
      return { flags: [`--kubeconfig=${path}`] };
    },
    check: 'access',
    says: /cannot be asked: 401 Unauthorized/,
    fix: /renew the kubeconfig/,
  },
  {
    name: 'a kubeconfig that is not there',
    target: 'server',
    plant: () => ({ flags: ['--kubeconfig=/nowhere/config'] }),
    check: 'kubernetes',
    says: /\/nowhere\/config/,
    fix: /current context names this cluster/,
  },
  {
    name: 'a server that hears nothing of pods',
    target: 'server',
    plant: async ({ listen }) => {
      const silence = (resource: string, seconds: number): string =>
        `kiam_k8s_watch_silence_seconds{resource="${resource}"} ${seconds}\n`;
      const port = await listen((path) =>
        path === '/ready' ? 'ok\n' : silence('pods', 95) + silence('namespaces', 3),
      );
      return { flags: [`--prometheus-listen-addr=127.0.0.1:${port}`] };
    },
    check: 'watch',
    says: /heard nothing of pods for 95 s: new pods are refused/,
    fix: /the Kubernetes API/,
  },
  {
    name: 'an STS endpoint that cannot be reached',
    target: 'server',
    plant: () => ({ environment: { AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:1' } }),
    check: 'identity',
    says: /STS at http:\/\/127\.0\.0\.1:1 does not say who we are: .*ECONNREFUSED/,
    fix: /--region, AWS_ENDPOINT_URL_STS/,
  },
  {
    name: 'keys that AWS does not know',
    target: 'server',
    plant: () => ({ environment: { AWS_SECRET_ACCESS_KEY: 'wrong' } }),
    check: 'identity',
    says: /SignatureDoesNotMatch/,
    fix: /expired or wrong/,
  },
  {
    name: 'a server without any identity',
    target: 'server',
    plant: ({ world }) => ({
      environment: {
        AWS_ACCESS_KEY_ID: '',
        AWS_SECRET_ACCESS_KEY: '',
        AWS_EC2_METADATA_DISABLED: 'true',
        HOME: world.folder,
      },
    }),
    check: 'identity',
    says: /cannot load the server's own AWS credentials/,
    fix: /IRSA or Pod Identity/,
  },
  {
    name: 'a role of the server’s own that does not trust it',
    target: 'server',
    plant: ({ world }) => {
      world.sts.role(`${world.roleBaseArn}kiam-server`, { deny: true });
      return { flags: ['--assume-role-arn=kiam-server'] };
    },
    check: 'identity',
    says: /--assume-role-arn: cannot assume the server's own role: AccessDenied/,
    fix: /whose trust policy must name it/,
    remove: ({ world }) => world.sts.role(`${world.roleBaseArn}kiam-server`, undefined),
  },
  {
    name: 'a region of another partition than the roles',
    target: 'server',
    plant: () => ({ flags: ['--region=cn-north-1'] }),
    check: 'region',
    says: /--region=cn-north-1, of the partition aws-cn, while roles are arn:aws:iam::123456789012:role\//,
    fix: /give --region one of the partition aws/,
  },
  {
    name: 'a region of the environment that is of another partition than the roles',
    target: 'server',
    plant: () => ({ environment: { AWS_REGION: 'cn-north-1' } }),
    check: 'region',
    says: /AWS_REGION=cn-north-1, of the partition aws-cn, while roles are arn:aws:iam::123456789012:role\//,
    fix: /give --region one of the partition aws/,
  },
  {
    name: 'a variable that is no region',
    target: 'server',
    plant: () => ({ environment: { AWS_REGION: 'eu_west_1' } }),
    check: 'region',
    says: /AWS_REGION is not the name of a region/,
    fix: /correct or remove the variable, or give --region/,
  },
  {
    name: 'a base ARN of another partition',
    target: 'server',
    plant: () => ({ flags: ['--role-base-arn=arn:aws-cn:iam::123456789012:role/', '--region=cn-north-1'] }),
    check: 'identity',
    says: /short role names become arn:aws-cn:iam::123456789012:role\/…, and we are in the partition aws/,
    fix: /begin the base ARN with arn:aws:/,
  },
  {
    name: 'a role in use that does not trust the server',
    target: 'server',
    plant: ({ world }) => world.sts.role(`${world.roleBaseArn}reader`, { deny: true }),
    check: 'roles',
    says: /STS does not let us assume arn:aws:iam::123456789012:role\/reader: AccessDenied/,
    fix: /does its trust policy name us/,
    remove: ({ world }) => world.sts.role(`${world.roleBaseArn}reader`, undefined),
  },
  {
    name: 'an external id that the role does not want',
    target: 'server',
    plant: async ({ world }) => {
      world.sts.role(`${world.roleBaseArn}partner`, { externalId: 'theirs' });
      await world.pod({ namespace: 'sound', name: 'partner', role: 'partner', externalId: 'ours' });
    },
    check: 'roles',
    says: /role\/partner: AccessDenied/,
    fix: /with the external id that the pod annotates/,
    remove: ({ world }) => world.api.removePod('sound', 'partner'),
  },
  {
    name: 'a pod with hostNetwork and a role',
    target: 'cluster',
    plant: async ({ world }) => {
      await world.pod({ namespace: 'sound', name: 'on-host', role: 'reader', hostNetwork: true });
    },
    check: 'pods',
    says: /sound\/on-host: has hostNetwork and the role reader/,
    fix: /take hostNetwork or the annotation iam\.amazonaws\.com\/role away/,
    remove: ({ world }) => world.api.removePod('sound', 'on-host'),
  },
  {
    name: 'a mirror pod with a role',
    target: 'cluster',
    plant: async ({ world }) => {
      const annotations = { [MIRROR_ANNOTATION]: 'hash' };
      await world.pod({ namespace: 'sound', name: 'from-file', role: 'reader', annotations });
    },
    check: 'pods',
    says: /sound\/from-file: is a mirror pod with the role reader/,
    fix: /run it by a DaemonSet or a Deployment/,
    remove: ({ world }) => world.api.removePod('sound', 'from-file'),
  },
  {
    name: 'the ARN of an instance profile as a role, on two replicas',
    target: 'cluster',
    plant: async ({ world }) => {
      const role = 'arn:aws:iam::123456789012:instance-profile/reader';
      for (const name of ['profile-1', 'profile-2']) await world.pod({ namespace: 'sound', name, role });
    },
    check: 'pods',
    says: /sound\/profile-1 and 1 more: its role is not valid: .* is not the ARN of a role/,
    fix: /takes a name, path\/name, or arn:aws:iam::ACCOUNT:role\/NAME/,
    remove: ({ world }) => ['profile-1', 'profile-2'].forEach((name) => world.api.removePod('sound', name)),
  },
  {
    name: 'a role with a blank at its end',
    target: 'cluster',
    plant: async ({ world }) => {
      await world.pod({ namespace: 'sound', name: 'blank', role: 'reader ' });
    },
    check: 'pods',
    says: /sound\/blank: its role is not valid: "'reader ' cannot be the name of a role/,
    fix: /letters, digits/,
    remove: ({ world }) => world.api.removePod('sound', 'blank'),
  },
  {
    name: 'an external id that AWS does not accept',
    target: 'cluster',
    plant: async ({ world }) => {
      await world.pod({ namespace: 'sound', name: 'with-id', role: 'reader', externalId: 'half a secret' });
    },
    check: 'pods',
    says: /sound\/with-id: its external id is not valid, and so it gets nothing/,
    fix: /iam\.amazonaws\.com\/external-id: an external id has 2 to 1224 letters, digits/,
    remove: ({ world }) => world.api.removePod('sound', 'with-id'),
  },
  {
    name: 'a namespace without an expression',
    target: 'cluster',
    plant: async ({ world }) => {
      world.namespace('silent');
      await world.pod({ namespace: 'silent', name: 'app', role: 'reader' });
    },
    check: 'namespaces',
    says: /silent has no annotation iam\.amazonaws\.com\/permitted, so that its pods get nothing: app/,
    fix: /kubectl annotate namespace silent/,
    remove: ({ world }) => world.api.deleteNamespace('silent'),
  },
  {
    name: 'an expression that is broken',
    target: 'cluster',
    plant: ({ world }) => world.namespace('broken', 'arn:aws:iam::1:role/(team'),
    check: 'namespaces',
    says: /broken: the expression 'arn:aws:iam::1:role\/\(team' is invalid/,
    fix: /RE2/,
    remove: ({ world }) => world.api.deleteNamespace('broken'),
  },
  {
    name: 'an expression for the name of a role in place of its ARN',
    target: 'cluster',
    plant: async ({ world }) => {
      world.namespace('short', 'reader');
      await world.pod({ namespace: 'short', name: 'app', role: 'reader' });
    },
    check: 'namespaces',
    says: /short: 'reader' does not match arn:aws:iam::123456789012:role\/reader, the role of app/,
    fix: /must match the whole ARN/,
    remove: ({ world }) => world.api.deleteNamespace('short'),
  },
  {
    name: 'two live pods with one address',
    target: 'cluster',
    plant: async ({ world }) => {
      const { address } = await world.pod({ namespace: 'sound', name: 'twin-1', role: 'reader' });
      await world.pod({ namespace: 'sound', name: 'twin-2', role: 'reader' });
      world.api.patchPod('sound', 'twin-2', { status: { podIP: address, podIPs: [{ ip: address }] } });
    },
    check: 'pods',
    says: /sound\/twin-1: has the address 127\.1\.\d+\.\d+, and so has sound\/twin-2: neither is served/,
    fix: /delete the one that does not run any more/,
    remove: ({ world }) => ['twin-1', 'twin-2'].forEach((name) => world.api.removePod('sound', name)),
  },
];
