import { readFile } from 'node:fs/promises';

import type { Clock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';

import { askHttp, placeOf } from './ask-http.ts';
import { type Observation, ok, wrong } from './finding.ts';

const URI = 'AWS_CONTAINER_CREDENTIALS_FULL_URI';
const TOKEN = 'AWS_CONTAINER_AUTHORIZATION_TOKEN';
const TOKEN_FILE = 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE';

const FIX_AGENT = 'run `kiam doctor` in the agent’s container on this node; the agent needs --container-credentials';
const FIX_POD = 'docs/container-credentials.md has the variables and the volume that a pod needs';

/** What to do about the statuses with which the agent refuses. */
const FIXES: Readonly<Record<number, string>> = {
  400: 'compare the audience of the volume with --container-credentials-audience of the agent',
  403: '`kiam explain` says what forbids it',
  404: 'annotate the ServiceAccount or the pod with a role, or take these variables away',
  503: '`kiam explain` says whether a server knows this pod; SDKs ask again',
};

export interface ContainerCheckOptions {
  /** The variables of this pod's container. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Asks for container credentials as an SDK in this pod would; finds nothing where the variables do not say so. SDKs ask there
 * before the instance metadata (https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html). Never
 * rejects, shows no secret.
 */
export async function checkContainerCredentials(options: ContainerCheckOptions): Promise<Observation[]> {
  const { environment } = options;
  const uri = environment[URI] ?? '';
  if (uri === '') return [];
  const place = URL.canParse(uri) ? new URL(uri) : undefined;
  if (place?.protocol !== 'http:') return [wrong(`${URI} is no http URL, which the agent’s is: ${uri}`, FIX_POD)];
  const token = await readToken(environment);
  if (typeof token !== 'string') return [token];
  const answer = await askHttp({
    ...placeOf(uri, options),
    path: place.pathname + place.search,
    headers: { authorization: token },
  });
  if (!answer.ok) return [wrong(`nobody gives container credentials at ${uri}: ${answer.reason}`, FIX_AGENT)];
  if (answer.status !== 200) {
    const says = `no container credentials for this pod: ${answer.status} ${answer.body.trim()}`;
    return [wrong(says, FIXES[answer.status] ?? FIX_AGENT)];
  }
  const until = /"Expiration"\s*:\s*"([0-9TZ:-]+)"/.exec(answer.body)?.[1];
  if (until === undefined) return [wrong(`the answer of ${uri} has no credentials`, FIX_AGENT)];
  return [ok(`this pod gets container credentials until ${until}`)];
}

async function readToken(environment: ContainerCheckOptions['environment']): Promise<string | Observation> {
  const path = environment[TOKEN_FILE] ?? '';
  if (path === '') return environment[TOKEN] ?? '';
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    return wrong(`${TOKEN_FILE}: ${describeError(error)}`, FIX_POD);
  }
}
