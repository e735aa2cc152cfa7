import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';

import { type Answer, errorAnswer, jsonAnswer, textAnswer } from '#agent/answer.ts';
import { credentialsFailureAnswer } from '#agent/failure-response.ts';
import type { Child } from '#sandbox/child.ts';
import type { PodNamespace } from '#sandbox/network/network.ts';

import { eventually } from '../support/eventually.ts';
import { START_LIMIT_MS } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { startScriptedMetadata } from '../support/scripted-metadata.ts';
import type { RunningSdk } from '../support/running-sdk.ts';
import { createSdkNode, firstPacket, requestsOf, type SdkNode, tableOf, timed } from '../support/sdk-node.ts';
import { findSdk, type SdkProgram, WANTED_SDKS } from '../support/sdk-programs.ts';
import { type Outcome, recordSdkResults } from '../support/sdk-results.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const skip = await networkSkip();

/** No client asks more often than this until it gives up, nor takes longer. */
const MOST_REQUESTS = 20;
const LONGEST_MS = 60_000;

const REFUSED = { kind: 'sts-refused', message: 'AWS STS refused the role: AccessDenied' } as const;
/** As EC2 says that it may not assume the role of an instance. */
const AS_EC2 = jsonAnswer({
  Code: 'AssumeRoleUnauthorizedAccess',
  Message: REFUSED.message,
  LastUpdated: '2026-11-28T00:00:00Z',
});
const TTL = { 'x-aws-ec2-metadata-token-ttl-seconds': '21600' };

/** A metadata service that gives tokens and a role's name, and this in place of credentials. */
function insteadOfCredentials(credentials: Answer): (method: string, path: string) => Answer {
  return (method, path) => {
    if (method === 'PUT') return { ...textAnswer('token'), headers: { ...textAnswer('token').headers, ...TTL } };
    if (/security-credentials\/?$/.test(path)) return textAnswer('reader');
    return path.endsWith('/reader') ? credentials : errorAnswer(404, 'not found');
  };
}

/** What the agent's own code answers, where no stage brings it about for a whole run of a client. */
const SCRIPTED: Readonly<Record<string, (method: string, path: string) => Answer>> = {
  throttled: () => errorAnswer(429, 'too many requests'),
  'refused-500': insteadOfCredentials(credentialsFailureAnswer(REFUSED)),
  'refused-200': insteadOfCredentials(AS_EC2),
};

/** What the agent does not answer: measured to compare. */
const NOT_OURS = 'refused-200';

/** Its Python binding ends the process when a role is refused, whatever the status (0.38.1, source/auth_credentials.c). */
const ENDS_ITS_PROCESS: ReadonlySet<string> = new Set(['awscrt']);

/** What it says, or that it ended instead. */
function sayingOf(running: RunningSdk): ReturnType<typeof timed> {
  return timed(running.said().catch((error: unknown) => ({ error: String(error), tookMs: 0 })));
}

const rows = new Map<string, Readonly<Record<string, Outcome>>>();

describe('a stock SDK that gets no credentials gives up, after a bounded number of requests', { skip }, () => {
  let sdks: SdkNode;
  let agent: Child;

  before(async () => {
    sdks = await createSdkNode('retries');
    const { node } = sdks;
    node.world.namespace('team', '.*');
    node.world.namespace('closed', 'nothing');
    await node.startServer();
    agent = node.startAgent({ flags: ['--level=debug'] });
    await node.intercepts(agent);
    await agent.line(/"msg":"a server answers"/, START_LIMIT_MS);
  });
  after(async (t) => {
    await sdks?.remove();
    for (const row of tableOf(rows)) (t as TestContext).diagnostic(row);
  });

  /** At the agent, as a pod that it knows before the client starts. */
  const atAgent = async (
    t: TestContext,
    sdk: SdkProgram,
    announce: (pod: PodNamespace) => void,
  ): Promise<{ error: string; outcome: Outcome }> => {
    const pod = await sdks.addPod();
    announce(pod);
    const running = await sdks.startSdk(t, pod, sdk);
    const saying = sayingOf(running);
    await firstPacket(pod.address, agent.process.pid ?? 0);
    const startedMs = performance.now();
    const { said, atMs } = await saying;
    assert.equal(said.arn, undefined);
    await eventually('the requests are logged', 5000, () => Promise.resolve(requestsOf(agent, pod.address).length > 0));
    const requests = requestsOf(agent, pod.address).length;
    return {
      error: said.error ?? '',
      outcome: { served: false, requests, tookMs: Math.max(0, Math.round(atMs - startedMs)) },
    };
  };

  const atScript = async (
    t: TestContext,
    sdk: SdkProgram,
    answerTo: (method: string, path: string) => Answer,
  ): Promise<{ error: string; outcome: Outcome }> => {
    const pod = await sdks.addPod();
    const metadata = await startScriptedMetadata(pod, answerTo);
    try {
      const running = await sdks.startSdk(t, pod, sdk);
      const saying = sayingOf(running);
      await metadata.firstRequest;
      const startedMs = performance.now();
      const { said, atMs } = await saying;
      assert.equal(said.arn, undefined);
      const { requests } = metadata;
      return {
        error: said.error ?? '',
        outcome: {
          served: false,
          requests: requests.length,
          tookMs: Math.max(0, Math.round(atMs - startedMs)),
          tells: /AccessDenied|AssumeRoleUnauthorizedAccess/.test(said.error ?? ''),
        },
      };
    } finally {
      await metadata.stop();
    }
  };

  for (const name of WANTED_SDKS) {
    test(name, async (t) => {
      const sdk = await findSdk(name);
      if ('missing' in sdk) return t.skip(`SDK NOT TESTED: ${name}: ${sdk.missing}`);
      const met: Record<string, Outcome> = {};
      const note = (what: string, { error, outcome }: { error: string; outcome: Outcome }): void => {
        met[what] = outcome;
        t.diagnostic(`${what}: ${error.slice(0, 300)}`);
        if (what === NOT_OURS || ENDS_ITS_PROCESS.has(name)) return;
        assert.doesNotMatch(error, /ended$/, `${what}: the program ended without a word`);
        assert.ok(outcome.requests <= MOST_REQUESTS, `${what}: ${outcome.requests} requests`);
        assert.ok(outcome.tookMs < LONGEST_MS, `${what}: ${outcome.tookMs} ms`);
      };
      const plain = (pod: PodNamespace): void => sdks.announce(pod, `${name}-plain`, { role: '' });
      note('no-role', await atAgent(t, sdk, plain));
      const denied = (pod: PodNamespace): void => sdks.announce(pod, `${name}-denied`, { namespace: 'closed' });
      note('denied', await atAgent(t, sdk, denied));
      for (const [what, answerTo] of Object.entries(SCRIPTED)) note(what, await atScript(t, sdk, answerTo));
      rows.set(name, met);
      recordSdkResults(name, sdk.title, { met });
    });
  }
});
