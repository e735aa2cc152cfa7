/** What the real Kiam wrote to its logs, per happening: level and fields beside level, msg and time. */
export interface Happening {
  readonly daemon: 'agent' | 'server';
  readonly what: string;
  /** Kiam's. */
  readonly level: string;
  /** Kiam's. */
  readonly fields: readonly string[];
  /** How ours is found: its message, and fields with their values. */
  readonly ours: { readonly msg: string } & Readonly<Record<string, unknown>>;
  readonly difference?: LogDifference;
}

/** What ours writes otherwise, on purpose. docs/differences-from-kiam.md has the sentence. */
export interface LogDifference {
  readonly sentence: string;
  /** Ours, in place of Kiam's. */
  readonly level?: string;
  /** Fields that Kiam writes and ours does not. */
  readonly without?: readonly string[];
}

const NO_HEADERS: LogDifference = {
  sentence: 'The access log leaves out the headers of the answer. Expected 404s are debug lines, not errors.',
  without: ['headers'],
};
const DEBUG_404: LogDifference = { ...NO_HEADERS, level: 'debug' };
const SHARED_KEYS: LogDifference = {
  sentence: 'Lines about issued credentials name no pod: pods of one role share them.',
  without: ['pod.name', 'pod.namespace', 'pod.status.ip', 'pod.status.phase', 'pod.iam.role'],
};
const ONE_LINE_OF_FAILURE: LogDifference = {
  sentence:
    'A failure of STS is one line with the pod, `error retrieving credentials`, in 10 s for each pod and error, ' +
    "in STS's words without status code and request id; Kiam writes one for each request.",
};
const ONE_GENERATION: LogDifference = {
  sentence: 'Debug lines about pods leave out `generation.metadata`.',
  without: ['generation.metadata'],
};

const POD = ['pod.name', 'pod.namespace', 'pod.status.ip', 'pod.status.phase', 'pod.iam.role'];
const REQUEST = ['addr', 'method', 'path', 'status', 'duration', 'headers'];
const LIST = '/latest/meta-data/iam/security-credentials/';
const PROCESSED = 'processed request';

/** From the recording's notes on logs. */
export const HAPPENINGS: readonly Happening[] = [
  {
    daemon: 'agent',
    what: 'a request that went well',
    level: 'debug',
    fields: REQUEST,
    ours: { msg: PROCESSED, path: LIST, status: 200 },
    difference: NO_HEADERS,
  },
  {
    daemon: 'agent',
    what: 'a request that was refused',
    level: 'info',
    fields: REQUEST,
    ours: { msg: PROCESSED, path: `${LIST}writer`, status: 403 },
    difference: NO_HEADERS,
  },
  {
    daemon: 'agent',
    what: 'the error of a request',
    level: 'error',
    fields: ['addr', 'method', 'path', 'status'],
    ours: {
      msg: 'error processing request: error fetching credentials: AWS STS refused the role: AccessDenied',
      path: `${LIST}denied-by-sts`,
    },
  },
  {
    daemon: 'agent',
    what: 'a request of a pod without a role',
    level: 'info',
    fields: REQUEST,
    ours: { msg: PROCESSED, path: LIST, status: 404 },
    difference: DEBUG_404,
  },
  {
    daemon: 'server',
    what: 'a pod that is announced',
    level: 'debug',
    fields: [...POD, 'resource.version', 'generation.metadata'],
    ours: { msg: 'announced pod', 'pod.name': 'reader' },
    difference: ONE_GENERATION,
  },
  {
    daemon: 'server',
    what: 'a pod that is added',
    level: 'debug',
    fields: [...POD, 'resource.version', 'generation.metadata'],
    ours: { msg: 'added pod', 'pod.name': 'reader' },
    difference: ONE_GENERATION,
  },
  {
    daemon: 'server',
    what: 'a namespace that is added',
    level: 'debug',
    fields: ['namespace', 'namespace.permitted'],
    ours: { msg: 'added namespace' },
  },
  {
    daemon: 'server',
    what: 'credentials that are asked for',
    level: 'info',
    fields: ['credentials.role', 'credentials.session-name'],
    ours: {
      msg: 'requesting credentials',
      'credentials.role': 'session-role',
      'credentials.session-name': 'my session/1',
    },
  },
  {
    daemon: 'server',
    what: 'credentials that were fetched, with an external id',
    level: 'info',
    fields: [...POD, 'credentials.access.key', 'credentials.expiration', 'credentials.role', 'credentials.external-id'],
    ours: { msg: 'fetched credentials', 'credentials.role': 'external-role', 'credentials.external-id': '******' },
    difference: SHARED_KEYS,
  },
  {
    daemon: 'server',
    what: 'STS that refuses',
    level: 'error',
    fields: ['pod.iam.roleArn'],
    ours: {
      msg: 'error requesting credentials',
      'pod.iam.roleArn': 'arn:aws:iam::123456789012:role/denied-by-sts',
    },
  },
  {
    daemon: 'server',
    what: 'a pod whose credentials STS refuses',
    level: 'error',
    fields: [...POD, 'resource.version', 'pod.iam.requestedRole'],
    ours: {
      msg:
        'error retrieving credentials: AccessDenied: User: arn:aws:iam::123456789012:user/kiam is not authorized to perform: ' +
        'sts:AssumeRole on resource: arn:aws:iam::123456789012:role/denied-by-sts',
      'pod.name': 'sts-denied',
      'pod.iam.requestedRole': 'denied-by-sts',
    },
    difference: ONE_LINE_OF_FAILURE,
  },
  {
    daemon: 'server',
    what: 'a role that was found',
    level: 'info',
    fields: ['pod.iam.role', 'pod.ip'],
    ours: { msg: 'found role', 'pod.iam.role': 'reader', 'pod.ip': '127.0.1.1' },
  },
  {
    daemon: 'server',
    what: 'an address that is no pod',
    level: 'error',
    fields: ['pod.ip'],
    ours: { msg: 'error finding pod: pod not found', 'pod.ip': '127.0.9.9' },
  },
  {
    daemon: 'server',
    what: 'a role that policy denies',
    level: 'error',
    fields: [...POD, 'pod.iam.requestedRole', 'policy.explanation'],
    ours: {
      msg: 'pod denied by policy',
      'pod.name': 'reader',
      'pod.iam.requestedRole': 'writer',
      'policy.explanation': "requested 'writer' but annotated with 'reader', forbidden",
    },
  },
];
