import { awsTimestamp, type Credentials } from '#domain/credentials.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Sts } from './sts/sts.ts';

export interface InstanceFacts {
  readonly instanceId: string;
  readonly accountId: string;
  readonly region: string;
  readonly availabilityZone: string;
  readonly localIpv4: string;
  /** The instance profile's name and that of its role; `''` is an instance without a role. */
  readonly roleName: string;
  readonly userData: string;
}

export interface Instance {
  readonly facts: InstanceFacts;
  readonly roleArn: string;
  readonly instanceProfileArn: string;
  /** The credentials of the node's role as they are now. */
  credentials(): Credentials;
  /** Issues new ones at the next question, as EC2 does every few hours; the old ones still work. */
  rotateCredentials(): void;
  /** The leaf or directory at a path below the version; undefined when there is none. */
  read(path: readonly string[]): { readonly body: string; readonly secret: boolean } | undefined;
}

const LIFETIME_MS = 6 * 3_600_000;
const RENEW_BEFORE_MS = 15 * 60_000;

/** What a tree of metadata is made of: directories, and leaves that are computed when read. */
interface Leaf {
  readonly secret: boolean;
  body(): string;
}
type Tree = { readonly [name: string]: Tree | (() => string) | Leaf };

export function createInstance(options: { clock: Clock; sts: Sts; facts: InstanceFacts }): Instance {
  const { clock, sts, facts } = options;
  const roleArn = `arn:aws:iam::${facts.accountId}:role/${facts.roleName}`;
  const instanceProfileArn = `arn:aws:iam::${facts.accountId}:instance-profile/${facts.roleName}`;
  let current: Credentials | undefined;
  const credentials = (): Credentials => {
    if (current === undefined || current.expiresAtMs - clock.now() < RENEW_BEFORE_MS) {
      current = sts.session({ roleArn, sessionName: facts.instanceId, lifetimeMs: LIFETIME_MS }).credentials;
    }
    return current;
  };
  const tree = treeOf({ facts, instanceProfileArn, credentials });
  return {
    facts,
    roleArn,
    instanceProfileArn,
    credentials,
    rotateCredentials: () => {
      current = undefined;
    },
    read: (path) => read(tree, path),
  };
}

function read(tree: Tree, path: readonly string[]): { body: string; secret: boolean } | undefined {
  let node: Tree[string] | undefined = tree;
  for (const name of path.filter((segment) => segment !== '')) {
    if (node === undefined || typeof node === 'function' || isLeaf(node)) return undefined;
    node = Object.hasOwn(node, name) ? node[name] : undefined;
  }
  if (node === undefined) return undefined;
  if (typeof node === 'function') return { body: node(), secret: false };
  if (isLeaf(node)) return { body: node.body(), secret: node.secret };
  const names = Object.entries(node).map(([name, child]) =>
    typeof child === 'function' || isLeaf(child) ? name : `${name}/`,
  );
  return { body: names.join('\n'), secret: false };
}

function isLeaf(node: Tree | Leaf): node is Leaf {
  return typeof node['body'] === 'function' && typeof node['secret'] === 'boolean';
}

interface TreeParts {
  readonly facts: InstanceFacts;
  readonly instanceProfileArn: string;
  readonly credentials: () => Credentials;
}

/** https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html */
function treeOf({ facts, instanceProfileArn, credentials }: TreeParts): Tree {
  const secret: Leaf = { secret: true, body: () => credentialsText(credentials()) };
  const role: Tree = {
    info: () => profileText(instanceProfileArn, credentials().issuedAtMs),
    'security-credentials': { [facts.roleName]: secret },
  };
  return {
    dynamic: { 'instance-identity': { document: () => identityDocument(facts) } },
    'meta-data': {
      'ami-id': () => 'ami-0sandbox000000000',
      hostname: () => `ip-${facts.localIpv4.replaceAll('.', '-')}.${facts.region}.compute.internal`,
      ...(facts.roleName === '' ? {} : { iam: role }),
      'identity-credentials': { ec2: { 'security-credentials': { 'ec2-instance': secret } } },
      'instance-id': () => facts.instanceId,
      'instance-type': () => 'm7i.large',
      'local-ipv4': () => facts.localIpv4,
      placement: { 'availability-zone': () => facts.availabilityZone, region: () => facts.region },
      services: { domain: () => 'amazonaws.com', partition: () => 'aws' },
    },
    ...(facts.userData === '' ? {} : { 'user-data': () => facts.userData }),
  };
}

function credentialsText(credentials: Credentials): string {
  const fields = {
    Code: 'Success',
    LastUpdated: awsTimestamp(credentials.issuedAtMs),
    Type: 'AWS-HMAC',
    AccessKeyId: credentials.accessKeyId,
    SecretAccessKey: credentials.secretAccessKey,
    Token: credentials.sessionToken,
    Expiration: awsTimestamp(credentials.expiresAtMs),
  };
  return JSON.stringify(fields, undefined, 2);
}

function profileText(instanceProfileArn: string, updatedMs: number): string {
  const fields = {
    Code: 'Success',
    LastUpdated: awsTimestamp(updatedMs),
    InstanceProfileArn: instanceProfileArn,
    InstanceProfileId: 'AIPASANDBOXPROFILE000',
  };
  return JSON.stringify(fields, undefined, 2);
}

function identityDocument(facts: InstanceFacts): string {
  const fields = {
    accountId: facts.accountId,
    architecture: 'x86_64',
    availabilityZone: facts.availabilityZone,
    imageId: 'ami-0sandbox000000000',
    instanceId: facts.instanceId,
    instanceType: 'm7i.large',
    privateIp: facts.localIpv4,
    region: facts.region,
    version: '2017-09-30',
  };
  return JSON.stringify(fields, undefined, 2);
}
