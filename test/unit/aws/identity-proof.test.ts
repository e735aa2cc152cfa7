import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';

import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import { IdentityProof, type SignedOutcome } from '#aws/identity-proof.ts';
import type { OwnCredentialsOptions } from '#aws/own-credentials.ts';
import { ownCredentialsFailure, stsFailure, unavailable } from '#aws/sts-failure.ts';
import { createStsGateway } from '#aws/sts-gateway.ts';
import { systemClock } from '#runtime/clock.ts';
import { type Sts as SandboxSts, startSts } from '#sandbox/sts/sts.ts';

import { eventually } from '../../support/eventually.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const answered = (code: string, status = 403): SignedOutcome => stsFailure({ code, message: 'as STS says it', status });

/** A proof whose questions to AWS are answered by `answers` in turn, the last of them again and again. */
function proofWith(...answers: readonly SignedOutcome[]) {
  const clock = new ManualClock();
  const { logger, lines } = recordingLogger();
  let asked = 0;
  const proof = new IdentityProof({
    ask: () => {
      asked += 1;
      return Promise.resolve(answers[Math.min(asked, answers.length) - 1] ?? unavailable('not asked here'));
    },
    clock,
    logger,
    random: () => 0.5,
  });
  const stopping = new AbortController();
  return { proof, clock, lines, stopping, asked: () => asked, running: proof.run(stopping.signal) };
}

describe('the proof of the server’s own identity', () => {
  const outcomes: readonly (readonly [string, SignedOutcome, boolean])[] = [
    ['a success', { ok: true }, true],
    ['AccessDenied', answered('AccessDenied'), true],
    ['AccessDeniedException', answered('AccessDeniedException', 400), true],
    ['InvalidClientTokenId', answered('InvalidClientTokenId'), false],
    ['UnrecognizedClientException', answered('UnrecognizedClientException', 400), false],
    ['ExpiredToken', answered('ExpiredToken', 400), false],
    ['SignatureDoesNotMatch', answered('SignatureDoesNotMatch'), false],
    ['RequestTimeTooSkewed', answered('RequestTimeTooSkewed'), false],
    ['MissingAuthenticationToken', answered('MissingAuthenticationToken'), false],
    ['OptInRequired', answered('OptInRequired'), false],
    ['RegionDisabledException', answered('RegionDisabledException'), false],
    ['a 403 of a proxy', answered('', 403), false],
    ['Throttling', answered('Throttling', 400), false],
    ['InternalFailure', answered('InternalFailure', 500), false],
    ['ValidationError', answered('ValidationError', 400), false],
    ['no answer', unavailable('connect ECONNREFUSED'), false],
    ['no credentials at all', ownCredentialsFailure('no credentials', { code: '', detail: 'in the chain' }), false],
    ['AccessDenied to its own role', ownCredentialsFailure('own role', { code: '', detail: 'AccessDenied: x' }), false],
  ];
  for (const [what, outcome, isProof] of outcomes) {
    it(`the proof of the server’s own identity is ${isProof ? '' : 'not '}given by ${what}, to its own question and to any other call`, async () => {
      const asking = proofWith(outcome);
      await settle();
      assert.equal(asking.proof.problem === undefined, isProof);
      asking.stopping.abort();

      const observing = proofWith(unavailable('STS is away'));
      await settle();
      observing.proof.observe(outcome);
      assert.equal(observing.proof.problem === undefined, isProof);
      observing.stopping.abort();
      await Promise.all([asking.running, observing.running]);
    });
  }

  it('the proof of the server’s own identity is asked for until it is given, ever more slowly and every 5 s at the slowest, and then no more', async () => {
    const { proof, clock, asked } = proofWith(
      ...Array.from({ length: 9 }, () => unavailable('STS is away')),
      { ok: true },
      unavailable('STS is away again'),
    );
    await settle();
    assert.equal(asked(), 1);
    await clock.advance(2000);
    assert.ok(asked() >= 3 && asked() <= 4, String(asked()));
    for (let past = 0; past < 10; past += 1) await clock.advance(5000);
    assert.equal(proof.problem, undefined);
    assert.equal(asked(), 10);
  });

  it('the proof of the server’s own identity is never taken back, whatever AWS says later', async () => {
    const { proof } = proofWith({ ok: true });
    await settle();
    for (const code of ['InvalidClientTokenId', 'ExpiredToken', 'InternalFailure']) proof.observe(answered(code));
    assert.equal(proof.problem, undefined);
  });

  it('the proof of the server’s own identity ends a question that hangs when another call gives it', async () => {
    const proof = new IdentityProof({
      ask: (signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve(unavailable('the question was given up')));
        }),
      clock: new ManualClock(),
      logger: recordingLogger().logger,
    });
    const running = proof.run(new AbortController().signal);
    await settle();
    assert.equal(proof.problem, 'AWS has not answered yet');
    proof.observe(answered('AccessDenied'));
    await running;
    assert.equal(proof.problem, undefined);
  });

  it('the proof of the server’s own identity says once in the log what is missing, and that it is there; only the log has AWS’s own words', async () => {
    const { proof, clock, lines, stopping } = proofWith(
      answered('InvalidClientTokenId'),
      answered('InvalidClientTokenId'),
      unavailable('connect ECONNREFUSED'),
      { ok: true },
    );
    await settle();
    assert.equal(proof.problem, "the server's own AWS credentials do not work: InvalidClientTokenId");
    for (let past = 0; past < 4; past += 1) await clock.advance(5000);
    assert.deepEqual(
      lines.map(({ level, fields }) => [level, fields['error']]),
      [
        ['error', 'InvalidClientTokenId: as STS says it'],
        ['error', 'connect ECONNREFUSED'],
        ['info', undefined],
      ],
    );
    stopping.abort();
  });
});

describe('the proof of the server’s own identity, before an STS that checks signatures', () => {
  const USER = 'arn:aws:iam::123456789012:user/kiam';
  const OWN_ROLE = 'arn:aws:iam::123456789012:role/kiam-server';
  const ROLE = 'arn:aws:iam::123456789012:role/reader';
  const environment = { ...process.env };
  let sts: SandboxSts;

  before(async () => {
    sts = await startSts({ clock: systemClock });
  });

  beforeEach(() => {
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
    process.env['AWS_EC2_METADATA_DISABLED'] = 'true';
    process.env['AWS_SHARED_CREDENTIALS_FILE'] = '/nonexistent';
    process.env['AWS_CONFIG_FILE'] = '/nonexistent';
    sts.everywhere({});
    sts.role(OWN_ROLE, undefined);
  });

  after(async () => {
    process.env = environment;
    await sts.close();
  });

  function gatewayOf(keys: Readonly<Record<string, string>>, options: Partial<OwnCredentialsOptions> = {}) {
    Object.assign(process.env, keys);
    const gateway = createStsGateway({
      region: '',
      sessionDurationSeconds: 3600,
      assumeRoleArn: '',
      endpoint: sts.url,
      clock: systemClock,
      logger: recordingLogger().logger,
      ...options,
    });
    const stopping = new AbortController();
    const { proof } = gateway;
    const running = proof.run(stopping.signal);
    return {
      gateway,
      proof,
      end: async (): Promise<void> => {
        stopping.abort();
        await running;
        gateway.close();
      },
    };
  }

  const keysOf = ({ accessKeyId, secretAccessKey, sessionToken = '' }: Record<string, string | undefined>) => ({
    AWS_ACCESS_KEY_ID: accessKeyId ?? '',
    AWS_SECRET_ACCESS_KEY: secretAccessKey ?? '',
    ...(sessionToken === '' ? {} : { AWS_SESSION_TOKEN: sessionToken }),
  });
  const user = () => {
    const { accessKeyId, secretAccessKey } = sts.user(USER).credentials;
    return { accessKeyId, secretAccessKey };
  };
  const ended = () => {
    const { credentials } = sts.session({ roleArn: OWN_ROLE, sessionName: 'kiam', lifetimeMs: -1000 });
    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    return { accessKeyId, secretAccessKey, sessionToken };
  };

  it('the proof of the server’s own identity, before an STS that checks signatures is given to a server with no pod to serve, with or without a role of its own', async () => {
    for (const assumeRoleArn of ['', OWN_ROLE]) {
      const { proof, end } = gatewayOf(keysOf(user()), { assumeRoleArn });
      await eventually('it is proven', 10_000, () => Promise.resolve(proof.problem === undefined));
      await end();
    }
  });

  const broken: readonly (readonly [string, () => Readonly<Record<string, string>>, string, RegExp])[] = [
    ['no credentials', () => ({}), '', /^the server's own AWS credentials do not work$/],
    ['unknown keys', () => keysOf({ ...user(), accessKeyId: 'AKIAUNKNOWN' }), '', /InvalidClientTokenId$/],
    ['a wrong secret', () => keysOf({ ...user(), secretAccessKey: 'wrong' }), '', /SignatureDoesNotMatch$/],
    ['a session that has ended', () => keysOf(ended()), '', /ExpiredToken$/],
    ['a role of its own that is denied', () => keysOf(user()), OWN_ROLE, /own AWS credentials do not work$/],
  ];
  for (const [what, keys, assumeRoleArn, problem] of broken) {
    it(`the proof of the server’s own identity, before an STS that checks signatures is not given to a server with ${what}, and assuming pods' roles does not give it either`, async () => {
      sts.role(OWN_ROLE, { deny: true });
      const { gateway, proof, end } = gatewayOf(keys(), { assumeRoleArn });
      await eventually('there is a reason', 10_000, () => Promise.resolve(problem.test(proof.problem ?? '')));
      const identity = { roleArn: ROLE, sessionName: 'kiam', externalId: '', attribution: NO_ATTRIBUTION };
      assert.equal((await gateway.assumeRole(identity, new AbortController().signal)).ok, false);
      assert.match(proof.problem ?? '', problem);
      assert.doesNotMatch(proof.problem ?? '', /arn:/);
      await end();
    });
  }
});
