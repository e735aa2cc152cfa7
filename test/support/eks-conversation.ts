import { connect } from 'node:net';

/** What stands in `Authorization`. `good` is a token that the cluster made for the pod that asks. */
export type TokenKind = keyof typeof TOKENS | 'good' | 'expired' | 'early' | 'other-audience' | 'tampered' | 'unsigned';

/** One request, as its bytes are. */
export interface Line {
  readonly what: string;
  readonly method?: string;
  readonly target?: string;
  readonly version?: string;
  /** Undefined for none. */
  readonly host?: string | undefined;
  /** Each in a header `Authorization` of its own; default `good`. */
  readonly tokens?: readonly TokenKind[];
  /** What stands before the token. */
  readonly before?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
}

export interface Heard {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export const PATH = '/v1/credentials';
export const HOST = '169.254.170.23';

const encode = (text: string): string => Buffer.from(text).toString('base64url');
const HEAD = encode('{"alg":"RS256","kid":"x"}');
const NO_CLAIMS = encode('{}');

/** Tokens that nobody signed. */
const TOKENS = {
  empty: '',
  'one-part': 'token',
  'two-parts': `${HEAD}.${NO_CLAIMS}`,
  'four-parts': `${HEAD}.${NO_CLAIMS}.c2ln.c2ln`,
  'no-base64': `${HEAD}.%%%.c2ln`,
  'no-json': `${HEAD}.${encode('claims')}.c2ln`,
  list: `${HEAD}.${encode('[]')}.c2ln`,
  'no-algorithm': `${encode('{}')}.${NO_CLAIMS}.c2ln`,
  'unknown-algorithm': `${encode('{"alg":"XX1"}')}.${NO_CLAIMS}.c2ln`,
  'no-claims': `${HEAD}.${NO_CLAIMS}.c2ln`,
  'end-as-text': `${HEAD}.${encode('{"exp":"tomorrow"}')}.c2ln`,
  huge: `${HEAD}.${encode(JSON.stringify({ sub: 'x'.repeat(40_000) }))}.c2ln`,
} as const;

export const CONVERSATION: readonly Line[] = [
  { what: 'a good token' },
  ...['HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'].map((method) => ({ what: `method ${method}`, method })),
  { what: 'no Authorization', tokens: [] },
  ...(Object.keys(TOKENS) as (keyof typeof TOKENS)[]).map((kind) => ({ what: `token: ${kind}`, tokens: [kind] })),
  ...(['expired', 'early', 'unsigned', 'other-audience', 'tampered'] as const).map((kind) => ({
    what: `token: ${kind}`,
    tokens: [kind],
  })),
  { what: 'Bearer before the token', before: 'Bearer ' },
  { what: 'spaces before the token', before: '   ' },
  { what: 'a good token, then another', tokens: ['good', 'one-part'] },
  { what: 'another token, then a good one', tokens: ['one-part', 'good'] },
  { what: 'Host with a port', host: `${HOST}:80` },
  { what: 'Host of IPv6', host: '[fd00:ec2::23]' },
  { what: 'Host of IPv6 with a port', host: '[fd00:ec2::23]:80' },
  { what: 'Host localhost', host: 'localhost' },
  { what: 'Host of another address', host: '169.254.170.2' },
  { what: 'Host with a dot at its end', host: `${HOST}.` },
  { what: 'Host empty', host: '' },
  { what: 'no Host, HTTP/1.1', host: undefined },
  { what: 'no Host, HTTP/1.0', host: undefined, version: '1.0' },
  { what: 'a whole URL, another Host beside it', target: `http://${HOST}${PATH}`, host: 'rebound.example.com' },
  { what: 'a whole URL of another host', target: `http://rebound.example.com${PATH}` },
  { what: 'a slash at the end', target: `${PATH}/` },
  { what: 'a doubled slash', target: '/v1//credentials' },
  { what: 'a dot segment', target: '/v1/x/../credentials' },
  { what: 'capital letters', target: '/V1/Credentials' },
  { what: 'a query', target: `${PATH}?x=1` },
  { what: 'an encoded letter', target: '/v1/%63redentials' },
  { what: 'more path', target: `${PATH}/more` },
  { what: 'another path', target: '/latest/meta-data/' },
  { what: 'the root', target: '/' },
  { what: 'X-Forwarded-For', headers: ['X-Forwarded-For: 192.0.2.9'] },
  { what: 'a body', headers: ['Content-Length: 2'], body: '{}' },
];

/** Sends one request on a connection of its own and reads until the other side ends it. Rejects when it takes over 5 s. */
export function say(
  line: Line,
  { port, from, tokenOf }: { port: number; from: string; tokenOf: (kind: TokenKind) => string },
): Promise<Heard> {
  const { method = 'GET', target = PATH, version = '1.1', tokens = ['good'], before = '', headers = [] } = line;
  const host = 'host' in line ? line.host : HOST;
  const text = [
    `${method} ${target} HTTP/${version}`,
    ...(host === undefined ? [] : [`Host: ${host}`]),
    ...tokens.map(
      (kind) => `Authorization: ${before}${kind in TOKENS ? TOKENS[kind as keyof typeof TOKENS] : tokenOf(kind)}`,
    ),
    ...headers,
    'Connection: close',
    '',
    line.body ?? '',
  ].join('\r\n');
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: from }, () => socket.write(text));
    let answer = '';
    socket
      .setEncoding('utf8')
      .setTimeout(5000, () => socket.destroy(new Error(`no end of the answer to: ${line.what}`)));
    socket.on('data', (chunk: string) => {
      answer += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(parse(answer)));
  });
}

function parse(answer: string): Heard {
  const [head = '', ...rest] = answer.split('\r\n\r\n');
  const isChunked = /^transfer-encoding: chunked/im.test(head);
  const body = rest.join('\r\n\r\n');
  return {
    status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0),
    contentType: /^content-type: *(.*?)\r?$/im.exec(head)?.[1] ?? '',
    body: isChunked ? body.replace(/^[0-9a-f]+\r\n/i, '').replace(/\r\n0\r\n\r\n$/, '') : body,
  };
}
