import type { Compared } from './answers.ts';
import type { RecordedCase } from './recorded.ts';

/** What ours answers otherwise than Kiam, on purpose. docs/differences-from-kiam.md has each sentence. */
export interface Difference {
  readonly sentence: string;
  /** Whose: behind a Kiam server our agent shows only its own, behind our server a Kiam agent shows only the server's. */
  readonly of: 'agent' | 'server';
  readonly applies: (recorded: RecordedCase) => boolean;
  /** What ours answers instead, given what Kiam answered. */
  readonly ours: (kiam: Compared, recorded: RecordedCase) => Compared;
}

const TEXT = 'text/plain; charset=utf-8';

const named =
  (...names: readonly string[]) =>
  ({ name }: RecordedCase): boolean =>
    names.includes(name);
const isCredentials = ({ body }: Compared): boolean => typeof body !== 'string';
const text =
  (status: number, body: string) =>
  (kiam: Compared): Compared => ({ ...kiam, status, type: TEXT, body });
const comeAgain =
  (body: string) =>
  (kiam: Compared): Compared => ({
    ...kiam,
    status: 503,
    type: TEXT,
    retryAfter: '1',
    body,
  });
const credentialsFor =
  (role: string) =>
  (kiam: Compared): Compared => ({
    ...kiam,
    status: 200,
    type: 'application/json',
    location: '',
    body: {
      role: `arn:aws:iam::123456789012:role/${role}`,
      session: 'kiam-kiam',
      lifeSeconds: 3600,
      fields: ['Code=Success', 'Type=AWS-HMAC', 'AccessKeyId', 'SecretAccessKey', 'Token', 'Expiration', 'LastUpdated'],
    },
  });

export const DIFFERENCES: readonly Difference[] = [
  {
    sentence: 'Credentials are served as `application/json`; Kiam said `text/plain`.',
    of: 'agent',
    applies: ({ response }) => response.status === 200 && response.body.startsWith('{"Code"'),
    ours: (kiam) => (isCredentials(kiam) ? { ...kiam, type: 'application/json' } : kiam),
  },
  {
    sentence:
      'Sessions last 1 hour and are renewed at half of it (`--session-duration`, `--session-refresh`); Kiam: 15 minutes, 5 before the end. SDKs then never see credentials that are about to expire.',
    of: 'server',
    applies: ({ response }) => response.status === 200 && response.body.startsWith('{"Code"'),
    ours: (kiam) => (typeof kiam.body === 'string' ? kiam : { ...kiam, body: { ...kiam.body, lifeSeconds: 3600 } }),
  },
  {
    sentence:
      'The list of roles is answered with and without a trailing slash; Kiam redirects, and several SDKs follow no redirect.',
    of: 'agent',
    applies: named('list without slash'),
    ours: (kiam) => ({ ...text(200, 'reader')(kiam), location: '' }),
  },
  {
    sentence:
      'Doubled slashes and dot segments are answered as the clean path is; Kiam redirects, so a role annotated `/team/app` fails with SDKs that follow no redirect.',
    of: 'agent',
    applies: named('list double slash', 'list dotdot', 'creds path leading'),
    ours: (kiam, { name }) =>
      name === 'creds path leading'
        ? credentialsFor('team-a/app')(kiam)
        : { ...text(200, 'reader')(kiam), location: '' },
  },
  {
    sentence: 'A slash after the role is ignored; Kiam takes it as a part of the name.',
    of: 'agent',
    applies: named('creds trailing slash'),
    ours: credentialsFor('reader'),
  },
  {
    sentence: 'Methods other than GET and HEAD, and PUT for a token, are 405; Kiam answers any method.',
    of: 'agent',
    applies: ({ request: { method, path } }) =>
      !['GET', 'HEAD'].includes(method) && !(method === 'PUT' && path.endsWith('/api/token')),
    ours: text(405, 'method not allowed\n'),
  },
  {
    sentence: 'What policy denies is 403; Kiam: 500, which SDKs repeat.',
    of: 'agent',
    applies: ({ response }) => response.status === 500 && response.body.includes('forbidden by policy'),
    ours: (kiam, { name }) => (name === 'creds trailing slash' ? kiam : { ...kiam, status: 403 }),
  },
  {
    sentence:
      "An unknown pod gets 503 with `Retry-After: 1`, after 5 s or just before its client would give the request up ([clients.md](clients.md)); the token's request waits for it as well. Kiam: 500 after 5 s, when most SDKs have long given up.",
    of: 'agent',
    applies: named('list succeeded', 'creds succeeded', 'creds unknown pod'),
    ours: (kiam, { name }) =>
      comeAgain(name.startsWith('list') ? 'pod not found\n' : 'error fetching credentials: no pod found\n')(kiam),
  },
  {
    sentence:
      'Pods with hostNetwork are never served by their address, which is that of the node and of each other; with `--container-credentials` they are by their token ([container-credentials.md](container-credentials.md)).',
    of: 'server',
    applies: named('list host network', 'creds host network'),
    ours: (kiam, { name }) =>
      comeAgain(name.startsWith('list') ? 'pod not found\n' : 'error fetching credentials: no pod found\n')(kiam),
  },
  {
    sentence: 'A pod without a role that asks for credentials gets 404 `empty role`, at once; Kiam: 500 after 5 s.',
    of: 'agent',
    applies: named('creds no role'),
    ours: text(404, 'empty role\n'),
  },
  {
    sentence:
      'When STS throttles or fails, the answer is 503 with `Retry-After: 1`, and holds its code but not its text; Kiam: 500.',
    of: 'agent',
    applies: named('creds sts throttled', 'creds sts error'),
    ours: (kiam, { name }) =>
      comeAgain(
        name === 'creds sts error'
          ? 'error fetching credentials: AWS STS is not available: InternalFailure\n'
          : 'error fetching credentials: AWS STS throttles requests: Throttling\n',
      )(kiam),
  },
  {
    sentence:
      "A namespace's expression must match the whole ARN; Kiam compiles `^expr$`, so that `a|b` also permits whatever begins with a or ends with b.",
    of: 'server',
    applies: named('creds either escape'),
    ours: (kiam) => text(403, 'error fetching credentials: forbidden by policy\n')(kiam),
  },
  {
    sentence:
      'A role, an account or an external id that AWS cannot have is refused with 403 before STS is asked, and the Event on the pod says what to change; Kiam asks STS.',
    of: 'server',
    applies: named('creds spaces', 'creds unicode'),
    ours: text(403, 'error fetching credentials: forbidden by policy\n'),
  },
  {
    sentence:
      'Tokens of IMDSv2 are issued by the agent and bound to the pod; Kiam passes every PUT on to the real service. `--require-imdsv2` refuses requests without one.',
    of: 'agent',
    applies: ({ request: { method, path } }) => method === 'PUT' && path.endsWith('/api/token'),
    ours: (kiam) =>
      kiam.status === 400
        ? text(400, 'x-aws-ec2-metadata-token-ttl-seconds must be a number from 1 to 21600\n')(kiam)
        : { ...kiam, type: TEXT },
  },
  {
    sentence:
      'Nothing below `iam/`, `security-credentials` and `identity-credentials/` is ever proxied, whatever `--allow-route-regexp` says; `iam/info` is answered for the role of the pod.',
    of: 'agent',
    applies: named('blocked iam info'),
    ours: (kiam) => ({ ...kiam, status: 200, type: 'application/json', body: 'info about the role reader' }),
  },
  {
    sentence:
      'Proxied requests are sent in canonical form with a list of allowed headers; Kiam passes on what the client wrote.',
    of: 'agent',
    applies: named('blocked encoded'),
    ours: (kiam) => ({ ...kiam, body: 'i-0rig' }),
  },
];
