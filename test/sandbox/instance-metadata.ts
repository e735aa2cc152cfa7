import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { canonicalAddress } from '#domain/address.ts';
import type { Clock } from '#runtime/clock.ts';
import { type HttpListener, type ListenAddress, listen, LOOPBACK_ANY_PORT } from './http-listener.ts';
import { createInstance, type Instance, type InstanceFacts } from './instance.ts';
import type { Sts } from './sts/sts.ts';

export interface InstanceMetadataOptions {
  readonly clock: Clock;
  readonly sts: Sts;
  readonly address?: ListenAddress | undefined;
  readonly facts: InstanceFacts;
  /** Whether a GET without a token is refused: `HttpTokens=required` in EC2. Default true. */
  readonly requireToken?: boolean | undefined;
}

export interface MetadataRequest {
  readonly atMs: number;
  readonly method: string;
  readonly url: string;
  /** Names and values in turn, as received. */
  readonly rawHeaders: readonly string[];
  /** The address that the connection came from, in canonical form. */
  readonly peer: string;
  readonly status: number;
  /** Whether the answer held the credentials of the node's role. */
  readonly servedNodeCredentials: boolean;
}

/** A stand-in for the EC2 instance metadata service that remembers who asked it for what. */
export interface InstanceMetadata {
  readonly url: string;
  readonly listener: HttpListener;
  readonly instance: Instance;
  /** The latest requests, the oldest first. */
  requests(): readonly MetadataRequest[];
  clearRequests(): void;
  /** Peers other than these that were given the credentials of the node's role since the start. Nobody else may be. */
  nodeRoleServedTo(options?: { readonly except?: readonly string[] }): readonly string[];
  requireToken(required: boolean): void;
  /**
   * As seen by who is one hop further than the hop limit allows: answers to requests for a token never arrive, all others do
   * (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceMetadataOptionsRequest.html).
   */
  keepTokens(kept: boolean): void;
  /** Answers everything with this status (for example 500), or not at all (`hang`); undefined ends it. */
  fail(how: number | 'hang' | undefined): void;
  close(): Promise<void>;
}

const LONGEST_LOG = 20_000;
const MOST_TOKENS = 10_000;
const LONGEST_TTL_SECONDS = 21_600;
const TTL_HEADER = 'x-aws-ec2-metadata-token-ttl-seconds';

export async function startInstanceMetadata(options: InstanceMetadataOptions): Promise<InstanceMetadata> {
  const { clock, sts, facts, address = LOOPBACK_ANY_PORT } = options;
  const instance = createInstance({ clock, sts, facts });
  const tokens = new TokenStore(clock);
  const requests: MetadataRequest[] = [];
  const thieves = new Set<string>();
  let requireToken = options.requireToken ?? true;
  let keepsTokens = false;
  let failure: number | 'hang' | undefined;

  const answerTo = (request: IncomingMessage): Answer | undefined => {
    if (failure === 'hang') return undefined;
    if (failure !== undefined) return plain(failure, '');
    if (keepsTokens && request.method === 'PUT') return undefined;
    return answer({ request, instance, tokens, requireToken });
  };
  const server = createServer((request, response) => {
    const result = answerTo(request);
    const peer = canonicalAddress(request.socket.remoteAddress ?? '') ?? '';
    if (result?.nodeCredentials === true) thieves.add(peer);
    requests.push({
      atMs: clock.now(),
      method: request.method ?? '',
      url: request.url ?? '',
      rawHeaders: request.rawHeaders,
      peer,
      status: result?.status ?? 0,
      servedNodeCredentials: result?.nodeCredentials === true,
    });
    if (requests.length > LONGEST_LOG) requests.splice(0, LONGEST_LOG / 2);
    request.resume();
    if (result !== undefined) send(response, result);
  });
  const listener = await listen(server, address);
  return {
    url: `http://${listener.authority}`,
    listener,
    instance,
    requests: () => [...requests],
    clearRequests: () => {
      requests.length = 0;
    },
    nodeRoleServedTo: ({ except = [] } = {}) => [...thieves].filter((peer) => !except.includes(peer)),
    requireToken: (required) => {
      requireToken = required;
    },
    keepTokens: (kept) => {
      keepsTokens = kept;
    },
    fail: (how) => {
      failure = how;
    },
    close: () => listener.stop(),
  };
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly contentType: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly nodeCredentials: boolean;
}

interface Question {
  readonly request: IncomingMessage;
  readonly instance: Instance;
  readonly tokens: TokenStore;
  readonly requireToken: boolean;
}

/** https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html */
function answer({ request, instance, tokens, requireToken }: Question): Answer {
  const [version, ...rest] = segmentsOf(request.url ?? '/');
  if (version === undefined) return plain(200, 'latest');
  if (rest.join('/') === 'api/token') return tokenAnswer(request, tokens);
  if (request.method !== 'GET' && request.method !== 'HEAD') return plain(405, '');
  const token = request.headers['x-aws-ec2-metadata-token'];
  if (token === undefined ? requireToken : !tokens.has(String(token))) return plain(401, '');
  const found = instance.read(rest);
  if (found === undefined) return plain(404, '404 - Not Found');
  return {
    status: 200,
    body: found.body,
    contentType: 'text/plain',
    headers: {},
    nodeCredentials: found.secret,
  };
}

/**
 * The segments of a path, read as leniently as any service might: decoded, without empty ones, dots resolved. So a proxy
 * that lets a clever spelling through is found out.
 */
function segmentsOf(url: string): string[] {
  const path = url.split('?', 1)[0] ?? '';
  const segments: string[] = [];
  for (const segment of decode(path).split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return segments;
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function tokenAnswer(request: IncomingMessage, tokens: TokenStore): Answer {
  if (request.method !== 'PUT') return plain(405, '');
  if (request.headers['x-forwarded-for'] !== undefined) return plain(403, '');
  const ttl = request.headers[TTL_HEADER];
  const seconds = typeof ttl === 'string' && /^\d{1,6}$/.test(ttl) ? Number(ttl) : 0;
  if (seconds < 1 || seconds > LONGEST_TTL_SECONDS) return plain(400, '');
  return { ...plain(200, tokens.issue(seconds * 1000)), headers: { [TTL_HEADER]: String(seconds) } };
}

function plain(status: number, body: string): Answer {
  return { status, body, contentType: 'text/plain', headers: {}, nodeCredentials: false };
}

function send(response: ServerResponse, result: Answer): void {
  response.writeHead(result.status, {
    'content-type': result.contentType,
    'content-length': Buffer.byteLength(result.body),
    server: 'EC2ws',
    ...result.headers,
  });
  response.end(result.body);
}

/** The session tokens that were handed out; the oldest are forgotten first. */
class TokenStore {
  readonly #expiries = new Map<string, number>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  issue(ttlMs: number): string {
    const token = `${randomBytes(40).toString('base64url')}==`;
    this.#expiries.set(token, this.#clock.now() + ttlMs);
    const oldest = this.#expiries.keys().next();
    if (this.#expiries.size > MOST_TOKENS && oldest.done === false) this.#expiries.delete(oldest.value);
    return token;
  }

  has(token: string): boolean {
    return (this.#expiries.get(token) ?? 0) > this.#clock.now();
  }
}
