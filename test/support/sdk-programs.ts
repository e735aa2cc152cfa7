import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { INSTALL_LIMIT_MS, installed, pythonPackages } from './installed.ts';

/** A stock SDK in a program that says who STS says it is, at its start and for each line of its input. */
export interface SdkProgram {
  readonly name: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Whether it is a command that says it once and ends, without a JSON line. */
  readonly isCommand?: boolean;
}

export type FoundSdk = SdkProgram | { readonly name: string; readonly missing: string };

const run = promisify(execFile);
const file = (name: string): string => fileURLToPath(new URL(`../sdks/${name}`, import.meta.url));

const JAVASCRIPT_V2 = 'aws-sdk@2.1693.0';
/** The version stands in test/sdks/java/pom.xml. */
const JAVA_V2 = 'java-v2-2.31.40';
const PYTHON = ['boto3==1.44.5', 'awscli==1.46.3'];

/** The SDKs by name, each with how it is brought here. All but the first are downloaded when they are asked for. */
const FINDERS: Readonly<Record<string, () => Promise<SdkProgram>>> = {
  'javascript-v3': () =>
    Promise.resolve({
      name: 'javascript-v3',
      argv: [process.execPath, file('javascript-v3.ts')],
      environment: {},
    }),
  'javascript-v2': async () => {
    const folder = await installed(JAVASCRIPT_V2, async (into) => {
      await writeFile(join(into, 'package.json'), '{"private":true}');
      const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
      await run('npm', ['install', '--prefix', into, ...flags, JAVASCRIPT_V2], {
        cwd: into,
        timeout: INSTALL_LIMIT_MS,
      });
    });
    const environment = { AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: '1' };
    return { name: 'javascript-v2', argv: [process.execPath, file('javascript-v2.mjs'), folder], environment };
  },
  boto3: async () => {
    const { python, environment } = await pythonPackages(PYTHON);
    return { name: 'boto3', argv: [python, file('boto3_identity.py')], environment };
  },
  'aws-cli': async () => {
    const { python, environment } = await pythonPackages(PYTHON);
    const argv = [python, '-m', 'awscli', 'sts', 'get-caller-identity', '--query', 'Arn', '--output', 'text'];
    return { name: 'aws-cli', argv, environment, isCommand: true };
  },
  'go-v2': async () => {
    const { stdout } = await run('go', ['env', 'GOVERSION']);
    const folder = await installed(`go-v2-${stdout.trim()}`, async (into) => {
      const options = { cwd: file('go'), timeout: INSTALL_LIMIT_MS };
      await run('go', ['build', '-mod=readonly', '-o', join(into, 'identity'), '.'], options);
    });
    return { name: 'go-v2', argv: [join(folder, 'identity')], environment: {} };
  },
  'java-v2': async () => {
    const folder = await installed(JAVA_V2, async (into) => {
      const options = { cwd: file('java'), timeout: INSTALL_LIMIT_MS };
      const copy = ['dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${into}`];
      await run('mvn', ['--quiet', '--batch-mode', ...copy], options);
      await run('javac', ['-cp', join(into, '*'), '-d', into, 'Identity.java'], options);
    });
    return { name: 'java-v2', argv: ['java', '-cp', `${folder}:${join(folder, '*')}`, 'Identity'], environment: {} };
  },
};

export const SDK_NAMES: readonly string[] = Object.keys(FINDERS);

/** Brings an SDK here, or says why it cannot be used: its language is not available, or nothing can be downloaded. */
export async function findSdk(name: string): Promise<FoundSdk> {
  const find = FINDERS[name];
  if (find === undefined) return { name, missing: `there is no such SDK among ${SDK_NAMES.join(', ')}` };
  try {
    return await find();
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return { name, missing: said.split('\n').slice(0, 3).join('; ').slice(0, 300) };
  }
}
