/** Which pod was served which access key: no secret is in it. Fields are `''` where the agent was not told. */
export interface AuditLine {
  /** When it was first served, as `2006-01-02T15:04:05Z`. */
  readonly time: string;
  readonly node: string;
  readonly namespace: string;
  readonly pod: string;
  readonly serviceAccount: string;
  readonly uid: string;
  readonly roleArn: string;
  /** As STS has it and CloudTrail shows it. */
  readonly sessionName: string;
  readonly accessKeyId: string;
  /** When the credentials end, in the form of `time`. */
  readonly expiration: string;
}

/** Tells these lines from others in the same stream. */
const MARK = 'first-served';

const FIELDS = [
  'time',
  'node',
  'namespace',
  'pod',
  'serviceAccount',
  'uid',
  'roleArn',
  'sessionName',
  'accessKeyId',
  'expiration',
] as const;

/** One line of JSON, with its line break. */
export function formatAuditLine(line: AuditLine): string {
  return `${JSON.stringify({ audit: MARK, ...line })}\n`;
}

/** Reads a line that may have anything before it, as `kubectl logs --prefix` writes; undefined for any other line. */
export function parseAuditLine(text: string): AuditLine | undefined {
  const begin = text.indexOf('{"audit":');
  if (begin < 0) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text.slice(begin));
  } catch {
    return undefined;
  }
  return typeof parsed === 'object' && parsed !== null && isMarked(parsed)
    ? lineOf(new Map(Object.entries(parsed)))
    : undefined;
}

function isMarked(parsed: object): boolean {
  return 'audit' in parsed && parsed.audit === MARK;
}

function lineOf(fields: ReadonlyMap<string, unknown>): AuditLine | undefined {
  if (!FIELDS.every((name) => typeof fields.get(name) === 'string')) return undefined;
  const text = (name: (typeof FIELDS)[number]): string => String(fields.get(name));
  return {
    time: text('time'),
    node: text('node'),
    namespace: text('namespace'),
    pod: text('pod'),
    serviceAccount: text('serviceAccount'),
    uid: text('uid'),
    roleArn: text('roleArn'),
    sessionName: text('sessionName'),
    accessKeyId: text('accessKeyId'),
    expiration: text('expiration'),
  };
}
