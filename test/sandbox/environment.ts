import { mkdir } from 'node:fs/promises';
import { getCompileCacheDir } from 'node:module';
import { dirname, join } from 'node:path';
import type { InstanceMetadata } from './instance-metadata.ts';
import type { Sts } from './sts/sts.ts';

type Environment = Readonly<Record<string, string>>;

/** Environments for child processes, in pieces; none holds anything of the caller's own but PATH. */
export interface WorldEnvironment {
  /** PATH and HOME. */
  readonly clean: Environment;
  /** Where STS is. */
  readonly sts: Environment;
  /** Where instance metadata is: credentials of the node's role. */
  readonly metadata: Environment;
  /** Keys of a user that may call STS, for a server that does not run on EC2. */
  readonly user: Environment;
  /** What a kiam server needs: `clean`, `sts` and `user`. */
  readonly server: Environment;
}

export interface EnvironmentOptions {
  readonly folder: string;
  readonly path: string;
  readonly region: string;
  readonly accountId: string;
  readonly sts: Sts;
  readonly metadata: InstanceMetadata;
  /** The authority that signed the certificate of STS; undefined when it speaks HTTP. */
  readonly authorityFile: string | undefined;
}

/** Makes the folder that is HOME, and a user with keys. */
export async function environmentOf(options: EnvironmentOptions): Promise<WorldEnvironment> {
  const home = join(options.folder, 'home');
  await mkdir(home, { recursive: true });
  // Daemons run from sources: Node's cache saves compiling them for every start.
  const cache = getCompileCacheDir();
  const clean: Environment = {
    PATH: options.path,
    HOME: home,
    ...(cache === undefined ? {} : { NODE_COMPILE_CACHE: dirname(cache) }),
  };
  const sts = {
    AWS_ENDPOINT_URL_STS: options.sts.url,
    AWS_REGION: options.region,
    ...(options.authorityFile === undefined ? {} : { AWS_CA_BUNDLE: options.authorityFile }),
  };
  const keys = options.sts.user(`arn:aws:iam::${options.accountId}:user/kiam`).credentials;
  const user = { AWS_ACCESS_KEY_ID: keys.accessKeyId, AWS_SECRET_ACCESS_KEY: keys.secretAccessKey };
  return {
    clean,
    sts,
    metadata: { AWS_EC2_METADATA_SERVICE_ENDPOINT: options.metadata.url },
    user,
    server: { ...clean, ...sts, ...user },
  };
}
