import type { Kube2iamAnswer } from './answers.ts';
import type { Kube2iamCase } from './recorded.ts';

/** What ours answers otherwise than kube2iam, on purpose. docs/migrating-from-kube2iam.md has each sentence. */
export interface Kube2iamDifference {
  readonly sentence: string;
  readonly applies: (recorded: Kube2iamCase) => boolean;
  readonly ours: (kube2iam: Kube2iamAnswer, recorded: Kube2iamCase) => Kube2iamAnswer;
}

const TEXT = 'text/plain; charset=utf-8';

const about =
  (pod: string) =>
  ({ name }: Kube2iamCase): boolean =>
    name === `list ${pod}` || name === `creds ${pod}`;
const named =
  (...names: readonly string[]) =>
  ({ name }: Kube2iamCase): boolean =>
    names.includes(name);
const error = (answer: Kube2iamAnswer, status: number, message: string): Kube2iamAnswer => ({
  ...answer,
  status,
  type: TEXT,
  server: 'EC2ws',
  location: '',
  body: `${message}\n`,
});
const notFound = (answer: Kube2iamAnswer, { request }: Kube2iamCase): Kube2iamAnswer =>
  error(answer, 404, `pod with specificed IP "${request.from}" not found`);

const TOKEN_PATH = /^\/[^/]+\/api\/token$/;

function askedRole(path: string): string {
  const clean = decodeURIComponent(new URL(`http://pod${path}`).pathname).replaceAll('//', '/');
  return clean.slice(clean.indexOf('/security-credentials/') + '/security-credentials/'.length);
}

export const textIn = ({ body }: Kube2iamAnswer): string => (typeof body === 'string' ? body : '');

/** The role that settings tell of without restrictions, and where another annotation is read. */
const readerIn = ({ setting }: Kube2iamCase): boolean => setting !== 'other keys';

export const KUBE2IAM_DIFFERENCES: readonly Kube2iamDifference[] = [
  {
    sentence:
      'A session is called `kiam-kube2iam`; kube2iam calls it by a hash of the address of whichever pod asked first, and gives it to the others. The ARN of the role is in every entry of CloudTrail either way.',
    applies: () => true,
    ours: (kube2iam) =>
      typeof kube2iam.body === 'string'
        ? kube2iam
        : { ...kube2iam, body: { ...kube2iam.body, session: 'kiam-kube2iam' } },
  },
  {
    sentence:
      'A pod with `hostNetwork` is not known: its address is that of the node, and of every other program there. kube2iam gives its role to all of them.',
    applies: about('none/host-network'),
    ours: notFound,
  },
  {
    sentence:
      'A pod of another node is not known with `--node`, whatever its role. (kube2iam asks for the pods of its node too; where it was recorded, the stand-in for the API server told it of others.)',
    applies: about('none/other-node'),
    ours: notFound,
  },
  {
    sentence:
      'Doubled slashes in a path are one, and the request is answered as it is; kube2iam redirects it with 301, which not every SDK follows.',
    applies: ({ response }) => response.status === 301,
    ours: (kube2iam, recorded) => {
      if (recorded.name === 'creds prefix/leading') {
        const denied = 'role requested arn:aws:iam::123456789012:role//team-a/app not valid for namespace of pod at';
        const { setting, request } = recorded;
        return /^(glob|regexp)/.test(setting)
          ? error(kube2iam, 404, `${denied} ${request.from} with namespace prefix`)
          : error(kube2iam, 403, 'Invalid role team-a/app');
      }
      if (!readerIn(recorded)) return error(kube2iam, 403, 'Invalid role reader');
      return {
        status: 200,
        type: TEXT,
        server: 'EC2ws',
        location: '',
        body: {
          role: 'arn:aws:iam::123456789012:role/reader',
          session: 'kiam-kube2iam',
          lifeSeconds: recorded.setting === 'session ttl' ? 3600 : 1800,
          fields: ['AccessKeyId', 'Code', 'Expiration', 'LastUpdated', 'SecretAccessKey', 'Token', 'Type'],
        },
      };
    },
  },
  {
    sentence:
      "What STS refuses is 500 with STS's code, and what may be well in a second is 503; kube2iam answers 500, after up to 6 s, with the whole text of the SDK, which names the node's role and account to the pod.",
    applies: (recorded) => recorded.response.status === 500,
    ours: (kube2iam, { name }) => {
      if (name.endsWith('denied')) return error(kube2iam, 500, 'AWS STS refused the role: AccessDenied');
      if (name.endsWith('throttled')) return error(kube2iam, 503, 'AWS STS throttles requests: Throttling');
      return error(kube2iam, 503, 'AWS STS is not available: InternalFailure');
    },
  },
  {
    sentence:
      'A role that cannot exist at AWS, such as one with blanks, is 403 `Invalid role` when credentials are asked for, and STS is not asked.',
    applies: ({ name, response }) =>
      (name === 'creds none/spaces' && response.status === 200) || response.body.includes('api error ValidationError'),
    ours: (kube2iam, { request }) => error(kube2iam, 403, `Invalid role ${askedRole(request.path)}`),
  },
  {
    sentence: 'Pods that claim one address are named in alphabetical order; with kube2iam the order changes.',
    applies: about('none/twin-a'),
    ours: (kube2iam) => ({
      ...kube2iam,
      body: textIn(kube2iam).replace('[twin-b twin-a]', '[twin-a twin-b]'),
    }),
  },
  {
    sentence:
      'Only GET and HEAD are answered, and PUT where a token is asked for; other methods are 405. kube2iam answers all methods with credentials.',
    applies: ({ request: { method, path } }) => !/^(?:GET|HEAD)$/.test(method) && !TOKEN_PATH.test(path),
    ours: (kube2iam) => ({ ...error(kube2iam, 405, 'method not allowed'), server: '' }),
  },
  {
    sentence:
      "Session tokens are our own, bound to the pod; kube2iam passes on the node's, with which a pod can ask the real service wherever a packet gets there.",
    applies: ({ request: { method, path } }) => method === 'PUT' && TOKEN_PATH.test(path),
    ours: (kube2iam) => ({
      ...kube2iam,
      type: TEXT,
      server: '',
      body:
        kube2iam.status === 200
          ? 'a session token'
          : 'x-aws-ec2-metadata-token-ttl-seconds must be a number from 1 to 21600\n',
    }),
  },
  {
    sentence:
      "`iam/info` is about the pod's role, and nothing below `iam/` and `identity-credentials/` is ever proxied; kube2iam shows the node's profile.",
    applies: named('proxy iam info'),
    ours: (kube2iam, recorded) =>
      readerIn(recorded)
        ? { ...kube2iam, type: 'application/json', server: '', body: 'info about the role reader' }
        : { ...kube2iam, status: 404, type: TEXT, server: '', body: "the role's ARN is not known\n" },
  },
  {
    sentence:
      "The real service is asked with the agent's own request: a token of its own, no `X-Forwarded-For`, and no header of the pod's but `Accept` and those of caching.",
    applies: ({ response }) => response.body.startsWith('{"method":'),
    // The stand-in for the service that kube2iam had told what it was asked; ours answers.
    ours: (kube2iam, { request }) => {
      const known: Readonly<Record<string, string>> = {
        '/latest/user-data': 'data',
        '/': 'latest',
        '/metrics': 'dynamic/\nmeta-data/\nuser-data',
      };
      const body = known[request.path];
      return { ...kube2iam, ...(body === undefined ? { status: 404, body: '404 - Not Found' } : { body }) };
    },
  },
  {
    sentence: 'At `/debug/store` pods of other nodes are missing, as they are for everything else.',
    applies: ({ name, setting }) => name === 'debug store' && setting === 'debug',
    ours: (kube2iam) => ({
      ...kube2iam,
      body: textIn(kube2iam).replace('"127.0.1.34":"none",', '').replace('"127.0.1.34":"reader",', ''),
    }),
  },
];
