/** How long the requests of a client may wait for a pod that is not known yet, in milliseconds. */
export interface Patience {
  /** For a session token. */
  readonly tokenMs: number;
  /** For a role's name or its credentials. */
  readonly answerMs: number;
}

/** A client that is served better by another patience than Kiam's. */
export interface TimedClient extends Patience {
  readonly name: string;
  /** Found at the beginning of `User-Agent`. */
  readonly userAgent: RegExp;
  /** What it does with an answer that is late, and where that can be read or how it was found out. */
  readonly why: string;
}

/** An SDK that gives a request up after one second must have its answer a little before. */
export const JUST_UNDER_ONE_SECOND_MS = 900;

/** Kiam waits for so long, whoever asks; who has given up by then hangs up. */
const UNTIL_IT_HANGS_UP_MS = 5000;

/**
 * Most must be answered before they give a request up: they try again after a 503, or only then. Two ask for a token again
 * after a time-out, so that their first request for one is better not answered. Whom nothing of this helps is not here:
 * docs/clients.md.
 */
export const TIMED_CLIENTS: readonly TimedClient[] = [
  {
    name: 'AWS SDK for Go v2',
    userAgent: /^aws-sdk-go-v2\//,
    tokenMs: 400,
    answerMs: 450,
    why: 'response headers within 500 ms, 3 attempts (feature/ec2/imds/request_middleware.go)',
  },
  {
    name: 'AWS SDK for Go v1',
    userAgent: /^aws-sdk-go\//,
    tokenMs: JUST_UNDER_ONE_SECOND_MS,
    answerMs: JUST_UNDER_ONE_SECOND_MS,
    why: '1 s, 3 attempts (aws/ec2metadata/service.go)',
  },
  {
    name: 'AWS SDK for Rust',
    userAgent: /^aws-sdk-rust\//,
    tokenMs: JUST_UNDER_ONE_SECOND_MS,
    answerMs: JUST_UNDER_ONE_SECOND_MS,
    why: '1 s, 4 attempts after a 503 and none after a time-out (aws-config, src/imds/client.rs)',
  },
  {
    name: 'AWS SDK for Kotlin',
    userAgent: /^aws-sdk-kotlin\//,
    tokenMs: JUST_UNDER_ONE_SECOND_MS,
    answerMs: JUST_UNDER_ONE_SECOND_MS,
    why: '1 s, 4 attempts (aws-config, imds/ImdsClient.kt)',
  },
  {
    name: 'AWS SDK for JavaScript v2',
    userAgent: /^aws-sdk-nodejs\//,
    tokenMs: JUST_UNDER_ONE_SECOND_MS,
    answerMs: JUST_UNDER_ONE_SECOND_MS,
    why: '1 s, 4 attempts (lib/metadata_service.js)',
  },
  {
    name: 'AWS SDK for PHP',
    userAgent: /^aws-sdk-php\//,
    tokenMs: JUST_UNDER_ONE_SECOND_MS,
    answerMs: JUST_UNDER_ONE_SECOND_MS,
    why: '1 s, 4 attempts (src/Credentials/InstanceProfileProvider.php)',
  },
  {
    name: 'AWS SDK for Ruby',
    userAgent: /^aws-sdk-ruby3?\//,
    tokenMs: JUST_UNDER_ONE_SECOND_MS,
    answerMs: JUST_UNDER_ONE_SECOND_MS,
    why: '1 s, 2 attempts (aws-sdk-core, instance_profile_credentials.rb)',
  },
  {
    name: 'AWS SDK for C++',
    userAgent: /^aws-sdk-cpp\//,
    tokenMs: UNTIL_IT_HANGS_UP_MS,
    answerMs: UNTIL_IT_HANGS_UP_MS,
    why: '1 s, 2 attempts after a time-out, for the token too (source/internal/AWSHttpResourceClient.cpp)',
  },
  {
    name: 'AWS common runtime for C',
    userAgent: /^aws-sdk-crt\/aws-imds-client/,
    tokenMs: UNTIL_IT_HANGS_UP_MS,
    answerMs: UNTIL_IT_HANGS_UP_MS,
    why: '1 s, 2 attempts after a time-out, for the token too (aws-c-auth, source/aws_imds_client.c)',
  },
];

const OTHERS: Patience = { tokenMs: JUST_UNDER_ONE_SECOND_MS, answerMs: UNTIL_IT_HANGS_UP_MS };

/** What to assume of the client that says this of itself; `--wait`, where it is given, is the upper bound. */
export function patienceOf(userAgent: string | undefined, longestMs: number): Patience {
  const { tokenMs, answerMs } = TIMED_CLIENTS.find((client) => client.userAgent.test(userAgent ?? '')) ?? OTHERS;
  return { tokenMs: Math.min(tokenMs, longestMs), answerMs: Math.min(answerMs, longestMs) };
}
