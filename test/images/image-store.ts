import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const BUILD_LIMIT_MS = 900_000;
/** What a build is asked to trust: a mirror of a registry may have an authority of its own. */
const HOST_AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';
/** Where the base image's npm looks for them. Never a part of an image. */
export const AUTHORITIES_INSIDE = '/run/host-authorities.pem';

export interface Image {
  readonly sizeBytes: number;
  readonly config: {
    readonly User?: string;
    readonly Cmd?: readonly string[];
    readonly Entrypoint?: readonly string[];
  };
  /** The folder that holds a container's root file system, made of the image. */
  readonly rootfs: string;
}

/** Images of this process alone, in a temporary folder; no registry is asked for any. */
export interface ImageStore {
  /** Makes an image of a file system, which a tar archive holds. */
  importImage(name: string, archive: string): Promise<void>;
  /** Builds one of the project's Dockerfiles: its last stage, or the stage that is named. */
  build(dockerfile: string, stage?: string): Promise<Image>;
  remove(): Promise<void>;
}

/** What the tests of the images need and do not find, in one line. */
export function missingTools(): string | undefined {
  if (process.platform !== 'linux' || process.geteuid?.() !== 0) return 'images are built and run as root on Linux';
  const missing = ['buildah', 'debootstrap', 'runc', 'curl'].filter(
    (tool) => spawnSync(tool, ['--version']).error !== undefined,
  );
  return missing.length === 0 ? undefined : `not on the PATH: ${missing.join(', ')} (Debian's packages of these names)`;
}

export async function createImageStore(): Promise<ImageStore> {
  sweepLeftovers();
  const folder = await mkdtemp(join(tmpdir(), `kiam-images-${process.pid}-`));
  const removeSync = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeSync);
  const buildah = async (...args: readonly string[]): Promise<string> => {
    const store = ['--root', join(folder, 'store'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs'];
    const options = { timeout: BUILD_LIMIT_MS, maxBuffer: 64 << 20, cwd: ROOT };
    return (await promisify(execFile)('buildah', [...store, ...args], options)).stdout.trim();
  };
  return {
    importImage: async (name, archive) => {
      const container = await buildah('from', 'scratch');
      await buildah('add', '--quiet', container, archive, '/');
      await buildah('commit', '--quiet', '--rm', container, name);
    },
    build: async (dockerfile, stage) => {
      const tag = `localhost/${dockerfile.toLowerCase()}-${stage ?? 'last'}:test`;
      const target = stage === undefined ? [] : ['--target', stage];
      const trusted = existsSync(HOST_AUTHORITIES) ? ['--volume', `${HOST_AUTHORITIES}:${AUTHORITIES_INSIDE}:ro`] : [];
      const options = ['--isolation', 'chroot', '--pull-never', ...trusted, ...target];
      await buildah('bud', ...options, '-f', dockerfile, '-t', tag, '.');
      const { OCIv1 } = JSON.parse(await buildah('inspect', '--type', 'image', tag)) as {
        OCIv1: { config: Image['config'] };
      };
      const rootfs = await buildah('mount', await buildah('from', '--pull-never', tag));
      return { sizeBytes: await bytesOf(rootfs), config: OCIv1.config, rootfs };
    },
    remove: async () => {
      await rm(folder, { recursive: true, force: true });
      process.off('exit', removeSync);
    },
  };
}

/** Removes the stores of processes that were killed: each takes gigabytes. */
function sweepLeftovers(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = /^kiam-images-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

async function bytesOf(folder: string): Promise<number> {
  const { stdout } = await promisify(execFile)('du', ['--summarize', '--bytes', folder]);
  return Number.parseInt(stdout, 10);
}
