import type { Environment } from '#runtime/environment.ts';
import { execFile } from 'node:child_process';
import type { Clock } from '#runtime/clock.ts';
import { createSingleFlight } from '#runtime/single-flight.ts';
import { field, parseJson, textField } from './json-fields.ts';

/**
 * A program that gives credentials
 * (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins).
 */
export interface ExecPlugin {
  /** Looked for on the PATH unless it is a path. */
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly apiVersion: string;
  /** The cluster's settings, which are passed to a plugin that asks for them. */
  readonly cluster: Readonly<Record<string, unknown>> | undefined;
}

/** Either may be missing, not both. */
export interface ExecCredentials {
  readonly token: string | undefined;
  readonly certificate: { readonly certificatePem: string; readonly keyPem: string } | undefined;
}

export interface ExecCredentialSource {
  /**
   * The plugin's credentials, from memory until their `expirationTimestamp`, or without end where there is none. The plugin
   * runs once at a time and all callers share the result. Rejects with what the plugin wrote to its standard error, and after a
   * minute.
   */
  get(plugin: ExecPlugin): Promise<ExecCredentials>;
  /** The API server no longer accepts them: the next call runs the plugin. */
  forget(): void;
}

export interface ExecCredentialSourceOptions {
  readonly clock: Clock;
  /** What the plugin inherits. */
  readonly environment: Environment;
}

/** A plugin may have to wait for a person or for a network. */
const LIMIT_MS = 60_000;
const LARGEST_OUTPUT_BYTES = 1024 * 1024;

export function createExecCredentialSource(options: ExecCredentialSourceOptions): ExecCredentialSource {
  const { clock } = options;
  const singleFlight = createSingleFlight<ExecCredentials>();
  let kept: { readonly key: string; readonly credentials: ExecCredentials; readonly untilMs: number } | undefined;
  return {
    get: (plugin) => {
      const key = JSON.stringify(plugin);
      if (kept?.key === key && clock.now() < kept.untilMs) return Promise.resolve(kept.credentials);
      const { result } = singleFlight(key, async () => {
        const { credentials, untilMs } = parseCredential(plugin, await run(plugin, options));
        kept = { key, credentials, untilMs };
        return credentials;
      });
      return result;
    },
    forget: () => {
      kept = undefined;
    },
  };
}

function run(plugin: ExecPlugin, { environment }: ExecCredentialSourceOptions): Promise<string> {
  const { command, args, apiVersion, cluster } = plugin;
  const info = {
    kind: 'ExecCredential',
    apiVersion,
    spec: { interactive: false, ...(cluster === undefined ? {} : { cluster }) },
  };
  const options = {
    env: { ...environment, ...plugin.environment, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
    timeout: LIMIT_MS,
    maxBuffer: LARGEST_OUTPUT_BYTES,
    encoding: 'utf8',
  } as const;
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, options, (error, output, complaint) => {
      if (error === null) resolve(output);
      else if (error.killed === true) reject(failure(plugin, `did not end within ${LIMIT_MS} ms`));
      else reject(failure(plugin, oneLine(complaint) || error.message, error));
    });
    // No person is there to ask: a plugin that reads its standard input finds its end.
    child.stdin?.end();
  });
}

function parseCredential(
  plugin: ExecPlugin,
  output: string,
): { readonly credentials: ExecCredentials; readonly untilMs: number } {
  const credential = parseJson(output);
  const status = field(credential, 'status');
  const apiVersion = textField(credential, 'apiVersion');
  if (textField(credential, 'kind') !== 'ExecCredential' || status === undefined) {
    throw failure(plugin, 'wrote no ExecCredential');
  }
  if (plugin.apiVersion !== '' && apiVersion !== plugin.apiVersion) {
    throw failure(plugin, `answered in ${apiVersion}, while the kubeconfig says ${plugin.apiVersion}`);
  }
  const token = textField(status, 'token');
  const certificatePem = textField(status, 'clientCertificateData');
  const keyPem = textField(status, 'clientKeyData');
  if ((certificatePem === '') !== (keyPem === ''))
    throw failure(plugin, 'gave a certificate or a key without the other');
  if (token === '' && certificatePem === '') throw failure(plugin, 'gave neither a token nor a certificate');
  const expiresMs = Date.parse(textField(status, 'expirationTimestamp'));
  return {
    credentials: {
      token: token === '' ? undefined : token,
      certificate: certificatePem === '' ? undefined : { certificatePem, keyPem },
    },
    untilMs: Number.isNaN(expiresMs) ? Number.POSITIVE_INFINITY : expiresMs,
  };
}

function failure({ command }: ExecPlugin, reason: string, cause?: unknown): Error {
  return new Error(`the credential plugin ${command} ${reason}`, { cause });
}

function oneLine(text: string): string {
  const line = text.replace(/\p{Cc}+/gu, ' ').trim();
  return line === '' ? '' : `failed: ${Array.from(line).slice(0, 300).join('')}`;
}
