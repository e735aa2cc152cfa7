import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { INSTALL_LIMIT_MS, installed, pythonPackages } from './installed.ts';

/** A stock SDK in a program that says who AWS says it is, at its start and for each line of its input. */
export interface SdkProgram {
  readonly name: string;
  /** What stands in tables: the library with its version. */
  readonly title: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Whether it is a command that says it once and ends, without a JSON line. */
  readonly isCommand?: boolean;
  /** Whether it knows no session tokens. */
  readonly isTokenless?: boolean;
}

export type FoundSdk = SdkProgram | { readonly name: string; readonly missing: string };

const run = promisify(execFile);
const file = (name: string): string => fileURLToPath(new URL(`../sdks/${name}`, import.meta.url));

type Finder = (name: string) => Promise<SdkProgram>;

/** A package of PyPI; its program is the function of the same name in clients.py. */
function python(title: string, ...packages: readonly string[]): Finder {
  return async (name) => {
    const { python, environment } = await pythonPackages(packages);
    const version = packages[0]?.split('==')[1] ?? '';
    return { name, title: `${title} ${version}`, argv: [python, file('clients.py'), name], environment };
  };
}

/** A package of npm; its program is given the folder that it is installed in. */
function npm(title: string, program: string, library: string): Finder {
  return async (name) => {
    const folder = await installed(library, async (into) => {
      await writeFile(join(into, 'package.json'), '{"private":true}');
      const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
      const options = { cwd: into, timeout: INSTALL_LIMIT_MS };
      await run('npm', ['install', '--prefix', into, ...flags, library], options);
    });
    const environment = { AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: '1' };
    const version = library.split('@')[1] ?? '';
    return { name, title: `${title} ${version}`, argv: [process.execPath, file(program), folder], environment };
  };
}

/** A program of the Go module of test/sdks/go, which pins what it is built with. */
function go(title: string, folder: string, library: string): Finder {
  return async (name) => {
    const options = { cwd: file('go'), timeout: INSTALL_LIMIT_MS };
    const { stdout: compiler } = await run('go', ['env', 'GOVERSION'], options);
    const { stdout: version } = await run(
      'go',
      ['list', '-mod=readonly', '-m', '-f', '{{.Version}}', library],
      options,
    );
    const built = await installed(`${name}-${compiler.trim()}-${version.trim()}`, async (into) => {
      await run('go', ['build', '-mod=readonly', '-o', join(into, 'identity'), `./${folder}`], options);
    });
    return { name, title: `${title} ${version.trim().slice(1)}`, argv: [join(built, 'identity')], environment: {} };
  };
}

/** Registries that are not everywhere available: what comes from them is tested where it is asked for. */
const OTHER_REGISTRIES = 'KIAM_SDKS_OTHER_REGISTRIES';

function otherRegistry(what: string): void {
  if (process.env[OTHER_REGISTRIES] !== '1') throw new Error(`${what} is used with ${OTHER_REGISTRIES}=1`);
}

/** Builds a project of test/sdks once for each state of the file that pins what it is built with; gives its folder and version. */
async function built(
  project: string,
  pins: string,
  version: RegExp,
  build: (into: string) => Promise<unknown>,
): Promise<{ readonly folder: string; readonly version: string }> {
  const text = await readFile(file(`${project}/${pins}`), 'utf8');
  const state = createHash('sha256').update(text).digest('hex').slice(0, 12);
  const folder = await installed(`${project}-${state}`, async (into) => {
    await cp(file(project), into, { recursive: true });
    await build(into);
  });
  return { folder, version: version.exec(text)?.[1] ?? '' };
}

/** A Java program of a Maven project; its version is that of one of the project's dependencies. */
function maven(title: string, project: string, artifact: string, ...program: readonly string[]): Finder {
  return async (name) => {
    otherRegistry('Maven');
    const pinned = new RegExp(`<artifactId>${artifact}</artifactId>\\s*<version>([^<]*)`);
    const goals = ['package', 'dependency:copy-dependencies', '-DoutputDirectory=target/lib'];
    const { folder, version } = await built(project, 'pom.xml', pinned, (cwd) =>
      run('mvn', ['-q', '-B', ...goals], { cwd, timeout: INSTALL_LIMIT_MS }),
    );
    const path = `${join(folder, 'target/classes')}:${join(folder, 'target/lib')}/*`;
    return { name, title: `${title} ${version}`, argv: ['java', '-cp', path, ...program], environment: {} };
  };
}

const rust: Finder = async (name) => {
  otherRegistry('Cargo');
  const { folder, version } = await built('rust', 'Cargo.toml', /aws-config = \{ version = "=([^"]*)/, (cwd) =>
    run('cargo', ['build', '--release', '--quiet'], { cwd, timeout: 3 * INSTALL_LIMIT_MS }),
  );
  return {
    name,
    title: `Rust (aws-config ${version})`,
    argv: [join(folder, 'target/release/identity')],
    environment: {},
  };
};

/** A program for an interpreter whose SDK is a package of Debian, in the version that the machine has. */
function debian(title: string, packaged: string, ...argv: readonly [string, string]): Finder {
  return async (name) => {
    const [interpreter, program] = argv;
    const found = await run('dpkg-query', ['-W', '-f', '${Version}', packaged]).catch(() => {
      throw new Error(`the Debian package ${packaged} is not installed`);
    });
    const version = found.stdout.replace(/-[^-]*$/, '');
    return { name, title: `${title} ${version}`, argv: [interpreter, file(program)], environment: {} };
  };
}

const AWS_CLI = 'awscli==1.46.3';

/** The SDKs by name, each with how it is brought here. All but the first are downloaded when they are asked for. */
const FINDERS: Readonly<Record<string, Finder>> = {
  'javascript-v3': (name) =>
    Promise.resolve({
      name,
      title: 'JavaScript v3 3.1173.0',
      argv: [process.execPath, file('javascript-v3.ts')],
      environment: {},
    }),
  'javascript-v2': npm('JavaScript v2', 'javascript-v2.mjs', 'aws-sdk@2.1693.0'),
  boto3: python('boto3', 'boto3==1.44.8'),
  aiobotocore: python('aiobotocore', 'aiobotocore==3.10.0'),
  'aws-cli': async (name) => {
    const { python, environment } = await pythonPackages([AWS_CLI]);
    const argv = [python, '-m', 'awscli', 'sts', 'get-caller-identity', '--query', 'Arn', '--output', 'text'];
    return { name, title: `AWS CLI ${AWS_CLI.split('==')[1]}`, argv, environment, isCommand: true };
  },
  minio: python('minio-py', 'minio==7.2.20'),
  'go-v2': go('Go v2', 'v2', 'github.com/aws/aws-sdk-go-v2'),
  'go-v1': go('Go v1', 'v1', 'github.com/aws/aws-sdk-go'),
  'minio-go': go('minio-go', 'minio', 'github.com/minio/minio-go/v7'),
  pyarrow: python('C++ (pyarrow)', 'pyarrow==26.0.1'),
  duckdb: python('C++ (DuckDB)', 'duckdb==1.5.5', 'duckdb-extension-httpfs==1.5.5', 'duckdb-extension-aws==1.5.5'),
  awscrt: python('C runtime (awscrt)', 'awscrt==0.38.1'),
  mountpoint: python('C runtime (Mountpoint, by s3torchconnectorclient)', 's3torchconnectorclient==1.5.0'),
  opendal: python('OpenDAL (Rust, reqsign)', 'opendal==0.47.12'),
  obstore: python('object_store (Rust, by obstore)', 'obstore==0.12.1'),
  gdal: python('GDAL 3.10.3 (by rasterio)', 'rasterio==1.4.4'),
  ruby: debian('Ruby', 'ruby-aws-sdk-core', 'ruby', 'identity.rb'),
  php: async (name) => ({
    ...(await debian('PHP (AsyncAws)', 'php-async-aws-core', 'php', 'identity.php')(name)),
    isTokenless: true,
  }),
  rust,
  'java-v2': maven('Java v2', 'java', 'sts', 'Identity', 'v2'),
  'java-v1': maven('Java v1', 'java', 'aws-java-sdk-sts', 'Identity', 'v1'),
  kotlin: maven('Kotlin', 'kotlin', 'sts-jvm', 'IdentityKt'),
};

export const SDK_NAMES: readonly string[] = Object.keys(FINDERS);

/** KIAM_SDKS=javascript-v3,boto3 tests these alone. */
export const WANTED_SDKS: readonly string[] = process.env['KIAM_SDKS']?.split(',') ?? SDK_NAMES;

/**
 * Brings an SDK here, or says why it cannot be used: its language is not available, or nothing can be downloaded. With
 * KIAM_REQUIRE_SDKS=1 that is an error.
 */
export async function findSdk(name: string): Promise<FoundSdk> {
  const find = FINDERS[name];
  if (find === undefined) return { name, missing: `there is no such SDK among ${SDK_NAMES.join(', ')}` };
  try {
    return await find(name);
  } catch (error) {
    if (process.env['KIAM_REQUIRE_SDKS'] === '1') throw error;
    const said = error instanceof Error ? error.message : String(error);
    return { name, missing: said.split('\n').slice(0, 3).join('; ').slice(0, 300) };
  }
}
