import assert from 'node:assert/strict';

import { AssumeRoleCommand } from '@aws-sdk/client-sts';
import fc from 'fast-check';

import { type RoleRequest, requestOf } from '#aws/assume-role.ts';
import { NO_ATTRIBUTION, plainSessions, type SessionRules } from '#domain/attribution.ts';
import { createRenewableClient } from '#aws/renewable-client.ts';
import { createStsClient } from '#aws/sts-client.ts';
import { createStsGateway } from '#aws/sts-gateway.ts';
import { isSessionOf } from '#domain/iam-grammar.ts';
import { compileExpression } from '#domain/expression.ts';
import { type Identity, identityKey, identityOf } from '#domain/identity.ts';
import { parseNameTemplate } from '#domain/name-template.ts';
import { decide } from '#domain/policy.ts';
import { createPodParser } from '#kubernetes/pod-record.ts';
import { systemClock } from '#runtime/clock.ts';
import { assumeRoleAnswer, errorAnswer, type XmlAnswer } from '#sandbox/sts/answers.ts';
import { checkAssumeRole } from '#sandbox/sts/assume-role.ts';
import { Identities } from '#sandbox/sts/identities.ts';

import { recordingLogger } from '../support/recording-logger.ts';

// Whatever users write into annotations, STS is sent their own call and nobody else's. The calls go through the SDK's client, whose
// connections are replaced by an STS in this process that takes nothing but what it knows to have been asked for.

const BASE = 'arn:aws:iam::123456789012:role/';
const PATIENT = new AbortController().signal;

/** Pods whose annotations were generated, calls that came to STS, and bytes of these that nobody had asked for. */
export const stsFound = { pods: 0, calls: 0, foreignBytes: 0 };

/** Whether a request that AWS would refuse is a failure: validation comes before the gateway, not before the client. */
let isChecked = true;

/** Bodies that may come at this moment, and whose they are. */
const expected = new Map<string, Identity>();
const identities = new Identities(systemClock);
const caller = identities.user('arn:aws:iam::123456789012:user/kiam');

/** `end` is what the client alone would send, and no server. */
function bodyFor(request: RoleRequest, end = ''): string {
  const { roleArn, sessionName, externalId, sourceIdentity, tags, areTagsTransitive } = request;
  const parameters = [
    ['Action', 'AssumeRole'],
    ['Version', '2011-06-15'],
    ['RoleArn', roleArn],
    ['RoleSessionName', sessionName],
    ['DurationSeconds', '3600'],
    ...tags.flatMap(([key, value], index) => [
      [`Tags.member.${index + 1}.Key`, key],
      [`Tags.member.${index + 1}.Value`, value],
    ]),
    ...(areTagsTransitive ? tags.map(([key], index) => [`TransitiveTagKeys.member.${index + 1}`, key]) : []),
    ...(externalId === '' ? [] : [['ExternalId', externalId]]),
    ...(sourceIdentity === '' ? [] : [['SourceIdentity', sourceIdentity]]),
  ];
  return parameters.map(([name = '', value = '']) => `${name}=${strictlyEncoded(value)}`).join('&') + end;
}

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html: UriEncode. */
function strictlyEncoded(text: string): string {
  return Array.from(Buffer.from(text, 'utf8'), (byte) => {
    const character = String.fromCharCode(byte);
    return /[A-Za-z0-9._~-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}

const requestHandler = {
  handle: (request: { readonly body?: unknown }) => {
    stsFound.calls += 1;
    const body = String(request.body);
    const identity = expected.get(body);
    if (identity === undefined) stsFound.foreignBytes += Buffer.byteLength(body);
    assert.ok(identity !== undefined, `nobody asked for ${body}`);
    const check = checkAssumeRole(new URLSearchParams(body), caller.identity);
    assert.ok(check.ok || !isChecked, `AWS would refuse ${body}`);
    if (!check.ok) return Promise.resolve({ response: responseOf(errorAnswer(check.error)) });
    const { sessionName, roleArn, externalId, tags, sourceIdentity } = check.input;
    const session = { roleArn, sessionName, externalId, tags, sourceIdentity };
    const issued = identities.session({ ...session, lifetimeMs: 3_600_000 });
    return Promise.resolve({ response: responseOf(assumeRoleAnswer(issued.identity, issued.credentials)) });
  },
  destroy: () => {},
};

function responseOf({ status, body }: XmlAnswer) {
  return { statusCode: status, headers: {}, body: Buffer.from(body) };
}

const { logger } = recordingLogger();
const quiet = { ...logger, info: () => {}, warn: () => {}, error: () => {} };
process.env['AWS_ACCESS_KEY_ID'] = caller.credentials.accessKeyId;
process.env['AWS_SECRET_ACCESS_KEY'] = caller.credentials.secretAccessKey;
const gateway = createStsGateway({
  region: 'eu-west-1',
  sessionDurationSeconds: 3600,
  assumeRoleArn: '',
  clock: systemClock,
  logger: quiet,
  requestHandler,
});
const client = createRenewableClient(() =>
  createStsClient({ region: 'eu-west-1', credentials: caller.credentials, requestHandler }),
);
const parsePod = createPodParser(['team']);
const permitsAll = compileExpression('[\\s\\S]*', true);

const EMOJI = '😀';
const poison = fc.constantFrom(
  EMOJI,
  EMOJI.slice(0, 1),
  EMOJI.slice(1),
  '\u0000',
  '\n',
  '&RoleArn=arn:aws:iam::123456789012:role/victim',
  '%26RoleArn%3D',
  '=',
  '+',
  '%',
  'ä',
  '\ufeff',
);
const tame = fc.string({ unit: fc.constantFrom('a', 'B', '9', '_', '+', '=', ',', '.', '@', '-'), maxLength: 20 });
const longTo = (most: number) => fc.integer({ min: most - 2, max: most + 2 }).map((length) => 'x'.repeat(length));
const textOf = (most: number) =>
  fc.oneof(
    { weight: 4, arbitrary: tame },
    { weight: 2, arbitrary: fc.array(fc.oneof(tame, poison), { maxLength: 4 }).map((parts) => parts.join('')) },
    { weight: 1, arbitrary: fc.tuple(longTo(most), poison).map(([text, end]) => text + end) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 30 }) },
  );
const role = fc.oneof(
  textOf(64),
  textOf(2048 - BASE.length),
  fc.tuple(textOf(64), textOf(64)).map((parts) => parts.join('/')),
  textOf(64).map((name) => BASE + name),
  fc.constantFrom('', 'arn:', 'arn:x', 'arn:aws:iam::1:role/x', 'arn:aws:sts::123456789012:assumed-role/a/b'),
);
const name = tame.map((text) => `r${text}`);
const id = fc.oneof(
  fc.constant(''),
  tame.map((text) => `id${text}`),
);
/** In most pods one annotation alone is out of the ordinary, so that the others do not keep it from STS. */
const annotated = fc.oneof(
  fc.record({ role, sessionName: tame, externalId: id, tag: tame }),
  fc.record({ role: name, sessionName: textOf(64), externalId: id, tag: tame }),
  fc.record({ role: name, sessionName: tame, externalId: textOf(1224), tag: tame }),
  fc.record({ role: name, sessionName: tame, externalId: id, tag: textOf(256) }),
  fc.record({ role, sessionName: textOf(64), externalId: textOf(1224), tag: textOf(256) }),
);

/** Names and tags say whose each session is, with all that the pod can put into them. */
const sourceIdentity = parseNameTemplate('{namespace}-{sessionName}');
assert.ok(sourceIdentity.ok);
const RULES: SessionRules = {
  ...plainSessions('kiam'),
  sourceIdentity: sourceIdentity.value,
  tags: 'pod',
  clusterName: 'cluster of us',
  areTagsTransitive: true,
};

type Annotated = typeof annotated extends fc.Arbitrary<infer T> ? T : never;

/** The way from a pod's annotations to STS that a server has. */
async function askAsPod({ role: text, sessionName, externalId, tag }: Annotated): Promise<void> {
  const pod = parsePod({
    metadata: {
      uid: 'u',
      name: 'n',
      namespace: 's',
      annotations: {
        'iam.amazonaws.com/role': text,
        'iam.amazonaws.com/session-name': sessionName,
        'iam.amazonaws.com/external-id': externalId,
        'iam.amazonaws.com/session-tag.team': tag,
        'iam.amazonaws.com/session-tag.kubernetes-namespace': 'victim',
      },
    },
    spec: { serviceAccountName: 'a' },
  });
  assert.ok(pod);
  const decision = decide({
    pod,
    requestedRole: pod.role,
    namespace: { name: 's', permitted: 'x' },
    expression: permitsAll,
    baseArn: BASE,
  });
  if (!decision.allowed) return;
  // What policy lets through is what the user wrote, and what AWS accepts.
  assert.equal(decision.roleArn, text.startsWith('arn:') ? text : BASE + text.replace(/^\//, ''));
  assert.equal(pod.externalId, externalId);
  const identity = identityOf(pod, decision.roleArn, RULES);
  assert.deepEqual(identity.attribution.tags, [
    ['eks-cluster-name', 'cluster of us'],
    ['kubernetes-namespace', 's'],
    ['kubernetes-service-account', 'a'],
    ['kubernetes-pod-name', 'n'],
    ['kubernetes-pod-uid', 'u'],
    ['team', tag],
  ]);
  const outcome = await askGateway(identity);
  assert.ok(outcome, `refused only at the gateway: ${JSON.stringify(pod)}`);
}

/** Without the barrier before the gateway: false when it refuses. */
async function askGateway(identity: Identity): Promise<boolean> {
  const request = requestOf(identity);
  expected.set(bodyFor(request), identity);
  const outcome = await gateway.assumeRole(identity, PATIENT);
  if (!outcome.ok) return false;
  const given = identities.find(outcome.value.accessKeyId)?.identity;
  const { roleArn, sessionName, externalId, tags, sourceIdentity: source } = request;
  assert.deepEqual(
    [given?.roleArn, given?.sessionName, given?.externalId, given?.tags, given?.sourceIdentity],
    [roleArn, sessionName, externalId, tags, source],
    `another's credentials for ${identityKey(identity)}`,
  );
  return true;
}

/** Without any barrier but the client's own. False when the request was not sent, or was refused. */
async function askClient({ role: text, sessionName, externalId, tag }: Annotated): Promise<boolean> {
  const tags = [['team', tag]] as const;
  const input = {
    RoleArn: text,
    RoleSessionName: sessionName,
    DurationSeconds: 3600,
    Tags: tags.map(([Key, Value]) => ({ Key, Value })),
    ExternalId: externalId,
  };
  const attribution = { ...NO_ATTRIBUTION, tags };
  if ([text, sessionName, externalId, tag].every((value) => value.isWellFormed())) {
    const body = bodyFor(
      { ...attribution, roleArn: text, sessionName, externalId },
      externalId === '' ? '&ExternalId=' : '',
    );
    expected.set(body, { roleArn: text, sessionName, externalId, attribution });
  }
  try {
    const { AssumedRoleUser } = await client.use((sts) => sts.send(new AssumeRoleCommand(input)));
    assert.ok(isSessionOf(AssumedRoleUser?.Arn ?? '', text, sessionName));
    return true;
  } catch (error) {
    assert.ok(!(error instanceof assert.AssertionError), String(error));
    return false;
  }
}

let neighbours = 0;

/** Another tenant, in the same moment. */
function neighbour(): Identity {
  neighbours = (neighbours + 1) % 1000;
  return { roleArn: `${BASE}victim-${neighbours}`, sessionName: 'kiam', externalId: '', attribution: NO_ATTRIBUTION };
}

/** What a pod annotates, past all that a server makes of it. */
function asIdentity({ role: roleArn, sessionName, externalId, tag }: Annotated): Identity {
  return {
    roleArn,
    sessionName,
    externalId,
    attribution: { ...NO_ATTRIBUTION, sourceIdentity: tag, tags: [['team', tag]] },
  };
}

async function askAsNeighbour(): Promise<void> {
  assert.ok(await askGateway(neighbour()), 'a neighbour is refused');
}

export const stsCalls = fc.asyncProperty(
  fc.array(annotated, { minLength: 1, maxLength: 4 }),
  fc.constantFrom('pod', 'gateway'),
  async (all, entrance) => {
    expected.clear();
    stsFound.pods += all.length;
    isChecked = true;
    await Promise.all([
      askAsNeighbour(),
      ...all.map((one) => (entrance === 'pod' ? askAsPod(one) : askGateway(asIdentity(one)))),
      askAsNeighbour(),
    ]);
    assert.equal(stsFound.foreignBytes, 0);
  },
);

export const clientCalls = fc.asyncProperty(fc.array(annotated, { minLength: 1, maxLength: 4 }), async (all) => {
  expected.clear();
  stsFound.pods += all.length;
  isChecked = false;
  const asNeighbour = (): Promise<boolean> => {
    const { roleArn } = neighbour();
    return askClient({ role: roleArn, sessionName: 'kiam', externalId: 'neighbour', tag: 'neighbour' });
  };
  await Promise.all([asNeighbour(), ...all.map(askClient), asNeighbour()]);
  assert.ok(await asNeighbour(), 'the client that failed is still in use');
  assert.equal(stsFound.foreignBytes, 0);
});
