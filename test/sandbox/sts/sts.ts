import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Clock } from '#runtime/clock.ts';
import type { KeyPairPem } from '#pki/authority.ts';
import { type HttpListener, type ListenAddress, listen, LOOPBACK_ANY_PORT, readBody } from '../http-listener.ts';
import { assumeRoleAnswer, callerIdentityAnswer, errorAnswer, type StsError, type XmlAnswer } from './answers.ts';
import { type AssumeRoleInput, checkAssumeRole, packedPercentOf, tagsOf } from './assume-role.ts';
import { Behaviours, refusalOf, type RoleBehaviour, THROTTLED } from './behaviour.ts';
import { CallLog, type StsCall } from './call-log.ts';
import { type CallerIdentity, Identities, type IssuedKey, type SessionOfRole } from './identities.ts';
import { verifySignature } from './signature.ts';

export interface StsOptions {
  readonly clock: Clock;
  readonly address?: ListenAddress | undefined;
  /** Given, STS speaks HTTPS with this certificate. */
  readonly tls?: KeyPairPem | undefined;
  /** Whether requests signed over 15 minutes off the clock are refused, as the real service does. Default true. */
  readonly checkRequestTime?: boolean;
}

/** A stand-in for the Security Token Service that checks signatures and tells tests what it was asked. */
export interface Sts {
  readonly url: string;
  readonly listener: HttpListener;
  readonly calls: CallLog;
  /** Makes a user with lasting keys, as an administrator would in IAM. */
  user(arn: string): IssuedKey;
  /** Makes a session of a role without a call, as EC2 does for an instance. */
  session(session: Omit<SessionOfRole, 'externalId'> & { readonly externalId?: string }): IssuedKey;
  /** Whose keys these are; undefined for keys that were never issued here. */
  identify(accessKeyId: string): CallerIdentity | undefined;
  /** Sets how calls for one role are treated; undefined makes it a normal role again. */
  role(roleArn: string, behaviour: RoleBehaviour | undefined): void;
  /** Sets how calls for every role are treated; a role's own behaviour goes before it. */
  everywhere(behaviour: RoleBehaviour): void;
  /** Changes the ARN of the session in answers of AssumeRole; undefined changes nothing. */
  answerAs(change: ((sessionArn: string) => string) | undefined): void;
  /** Of a parameter that is there twice the first is taken, as by some stand-ins for STS; AWS refuses the request. */
  takeFirstOfTwo(isTolerant: boolean): void;
  limitCallsPerSecond(limit: number | undefined): void;
  /** Sessions live so long, whatever was asked for; undefined goes back to what is asked. */
  overrideLifetimeMs(lifetimeMs: number | undefined): void;
  close(): Promise<void>;
}

const LONGEST_BODY_BYTES = 64 * 1024;

export async function startSts(options: StsOptions): Promise<Sts> {
  const { clock, address = LOOPBACK_ANY_PORT, tls } = options;
  const identities = new Identities(clock);
  const behaviours = new Behaviours(clock);
  const calls = new CallLog();
  let lifetimeMs: number | undefined;
  let isTolerant = false;
  let changedArn = (sessionArn: string): string => sessionArn;
  const service: StsService = {
    clock,
    identities,
    behaviours,
    calls,
    checkRequestTime: options.checkRequestTime ?? true,
    lifetimeMs: (seconds) => lifetimeMs ?? seconds * 1000,
    isTolerant: () => isTolerant,
    changedArn: (sessionArn) => changedArn(sessionArn),
  };
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    handle(service, request, response).catch(() => response.destroy());
  };
  const server =
    tls === undefined
      ? createServer(onRequest)
      : createSecureServer({ cert: tls.certificatePem, key: tls.privateKeyPem }, onRequest);
  const listener = await listen(server, address);
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${listener.authority}`,
    listener,
    calls,
    user: (arn) => identities.user(arn),
    session: (session) => identities.session({ externalId: '', ...session }),
    identify: (accessKeyId) => identities.find(accessKeyId)?.identity,
    role: (roleArn, behaviour) => behaviours.setRole(roleArn, behaviour),
    everywhere: (behaviour) => behaviours.setEverywhere(behaviour),
    answerAs: (change) => {
      changedArn = change ?? ((sessionArn) => sessionArn);
    },
    takeFirstOfTwo: (tolerant) => {
      isTolerant = tolerant;
    },
    limitCallsPerSecond: (limit) => behaviours.limit(limit),
    overrideLifetimeMs: (override) => {
      lifetimeMs = override;
    },
    close: () => listener.stop(),
  };
}

interface StsService {
  readonly clock: Clock;
  readonly identities: Identities;
  readonly behaviours: Behaviours;
  readonly calls: CallLog;
  readonly checkRequestTime: boolean;
  lifetimeMs(askedSeconds: number): number;
  isTolerant(): boolean;
  changedArn(sessionArn: string): string;
}

async function handle(service: StsService, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const bytes = await readBody(request, LONGEST_BODY_BYTES);
  if (bytes === undefined) {
    send(response, errorAnswer({ status: 413, code: 'RequestEntityTooLarge', message: 'Request size exceeded' }));
    return;
  }
  const body = bytes.toString('utf8');
  const url = request.url ?? '/';
  const verification = verifySignature(
    { method: request.method ?? '', url, headers: request.headers, body },
    {
      find: (accessKeyId) => service.identities.find(accessKeyId),
      nowMs: service.clock.now(),
      checkRequestTime: service.checkRequestTime,
    },
  );
  const query = url.includes('?') ? url.slice(url.indexOf('?') + 1) : '';
  const parameters = new URLSearchParams(request.method === 'POST' ? body : query);
  const call = callOf(parameters, verification.ok ? verification.key.identity.arn : '', service.clock.now());
  if (!verification.ok) {
    finish(service, response, call, verification.error);
    return;
  }
  const names = [...parameters.keys()];
  if (!service.isTolerant() && new Set(names).size < names.length) {
    finish(service, response, call, { status: 400, code: 'MalformedInput', message: 'Duplicate parameter' });
    return;
  }
  const caller = verification.key.identity;
  if (service.behaviours.overLimit()) finish(service, response, call, THROTTLED);
  else if (call.action === 'GetCallerIdentity') finish(service, response, call, callerIdentityAnswer(caller));
  else if (call.action === 'AssumeRole') assumeRole(service, response, call, parameters, caller);
  else {
    const message = `Could not find operation ${call.action} for version ${parameters.get('Version') ?? 'NO_VERSION_SPECIFIED'}`;
    finish(service, response, call, { status: 400, code: 'InvalidAction', message });
  }
}

function assumeRole(
  service: StsService,
  response: ServerResponse,
  call: StsCall,
  parameters: URLSearchParams,
  caller: CallerIdentity,
): void {
  const check = checkAssumeRole(parameters, caller);
  if (!check.ok) {
    finish(service, response, call, check.error);
    return;
  }
  const { input } = check;
  const behaviour = service.behaviours.take(input.roleArn);
  if (behaviour.hang === true) {
    service.calls.add(call, 'hung');
    return;
  }
  const answer = (): void => {
    const packedPercent = packedPercentOf(input, call.policy);
    const refusal = refusalOf(behaviour, input, caller) ?? (packedPercent > 100 ? tooLarge(packedPercent) : undefined);
    if (refusal !== undefined) {
      finish(service, response, call, refusal);
      return;
    }
    const { identity, credentials } = service.identities.session({
      roleArn: input.roleArn,
      sessionName: input.sessionName,
      externalId: input.externalId,
      lifetimeMs: service.lifetimeMs(input.durationSeconds),
      ...attributionOf(input, caller),
    });
    const answered = { ...identity, arn: service.changedArn(identity.arn) };
    finish(service, response, call, assumeRoleAnswer(answered, credentials, packedPercent));
  };
  if (behaviour.delayMs === undefined) answer();
  else service.clock.after(behaviour.delayMs, answer);
}

/** What the session has of its own and from whoever made it. */
function attributionOf(
  { sourceIdentity, tags, transitiveKeys }: AssumeRoleInput,
  caller: CallerIdentity,
): Pick<CallerIdentity, 'sourceIdentity' | 'tags' | 'transitiveTags'> {
  return {
    sourceIdentity: sourceIdentity === '' ? caller.sourceIdentity : sourceIdentity,
    tags: [...caller.transitiveTags, ...tags],
    transitiveTags: [...caller.transitiveTags, ...tags.filter(([key]) => transitiveKeys.includes(key))],
  };
}

function tooLarge(percent: number): StsError {
  const message = `Packed size of session tags consumes ${percent}% of allotted space.`;
  return { status: 400, code: 'PackedPolicyTooLarge', message };
}

function callOf(parameters: URLSearchParams, callerArn: string, atMs: number): StsCall {
  return {
    atMs,
    action: parameters.get('Action') ?? '',
    callerArn,
    roleArn: parameters.get('RoleArn') ?? '',
    sessionName: parameters.get('RoleSessionName') ?? '',
    externalId: parameters.get('ExternalId') ?? '',
    durationSeconds: Number(parameters.get('DurationSeconds') ?? 0),
    policy: parameters.get('Policy') ?? '',
    sourceIdentity: parameters.get('SourceIdentity') ?? '',
    tags: tagsOf(parameters),
  };
}

function finish(service: StsService, response: ServerResponse, call: StsCall, result: StsError | XmlAnswer): void {
  if ('code' in result) {
    service.calls.add(call, result.code);
    send(response, errorAnswer(result));
    return;
  }
  service.calls.add(call, 'ok');
  send(response, result);
}

function send(response: ServerResponse, answer: XmlAnswer): void {
  if (response.destroyed) return;
  response.writeHead(answer.status, {
    'content-type': 'text/xml',
    'content-length': Buffer.byteLength(answer.body),
    'x-amzn-requestid': answer.requestId,
  });
  response.end(answer.body);
}
