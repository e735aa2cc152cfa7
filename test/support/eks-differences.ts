/** Requests of the conversation with the agent of EKS (test/support/eks-conversation.ts) that are answered otherwise here. */
export interface EksDifference {
  readonly what: string;
  /** Of the conversation. */
  readonly lines: readonly string[];
  readonly theirs: string;
  readonly here: number;
  readonly why: string;
}

/** The agent of EKS asks EKS for whatever it does not refuse. */
export const ASKS_EKS = 'asks EKS';

export const EKS_DIFFERENCES: readonly EksDifference[] = [
  {
    what: 'POST, PUT, DELETE, OPTIONS',
    lines: ['method POST', 'method PUT', 'method DELETE', 'method OPTIONS'],
    theirs: ASKS_EKS,
    here: 405,
    why: 'SDKs use GET alone',
  },
  {
    what: 'a token without a signature, with a wrong one, or for another audience',
    lines: ['token: unsigned', 'token: other-audience', 'token: tampered'],
    theirs: ASKS_EKS,
    here: 400,
    why: 'the agent verifies tokens itself',
  },
  {
    what: 'a token without `exp`',
    lines: ['token: no-claims'],
    theirs: ASKS_EKS,
    here: 400,
    why: 'Kubernetes makes none',
  },
  {
    what: 'a token of 50 KB',
    lines: ['token: huge'],
    theirs: ASKS_EKS,
    here: 431,
    why: 'headers have a limit of 8 KiB',
  },
  {
    what: '`Host: localhost` on a connection to loopback, an address of the node on a connection to it',
    lines: ['Host localhost'],
    theirs: '403',
    here: 200,
    why: "the port can be used without the redirect, by pods with the host's network",
  },
  {
    what: 'HTTP/1.1 without `Host`',
    lines: ['no Host, HTTP/1.1'],
    theirs: '400',
    here: 403,
    why: 'as without it in HTTP/1.0',
  },
  {
    what: 'a path with a doubled slash or a dot segment',
    lines: ['a doubled slash', 'a dot segment'],
    theirs: '307',
    here: 200,
    why: 'answered as the clean path is, because SDKs do not follow redirects',
  },
];

/** The table of docs/container-credentials.md. */
export function differenceRows(): readonly string[] {
  return EKS_DIFFERENCES.map(({ what, theirs, here, why }) => `| ${what} | ${theirs} | ${here} | ${why} |`);
}
