import assert from 'node:assert/strict';
import type { TokenReview } from '#domain/agent-token.ts';
import { describe, it } from 'node:test';

import { PodCache } from '#kubernetes/pod-cache.ts';
import { type AgentIdentityMode, AgentScope } from '#server/agent-scope.ts';
import { NodeIndex } from '#server/node-index.ts';

import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const NODE = '198.51.100.1';

const AGENTS = 'system:serviceaccount:kube-system:kiam-agent';

/** What the API server says of a token that was made for a pod. */
function tokenOf(uid: string, { user = AGENTS, nodeName = '' } = {}): TokenReview {
  return { kind: 'pod', uid, user, nodeName };
}

/** A cluster with a pod and an agent on one dual-stack node, and one node that is known by its IPv6 address alone. */
function scopeThat(mode: AgentIdentityMode) {
  const { logger, lines } = recordingLogger();
  const pods = new PodCache({ logger });
  pods.upsert(podRecord({ addresses: ['192.0.2.1', '2001:db8::1'], hostIps: [NODE, '2001:db8::b'] }));
  pods.upsert(podRecord({ uid: 'ended', name: 'ended', addresses: ['192.0.2.3'], phase: 'Succeeded' }));
  pods.upsert(podRecord({ uid: 'agent', name: 'agent', addresses: [NODE], hostNetwork: true }));
  pods.upsert(podRecord({ uid: 'v6', name: 'v6', addresses: ['2001:db8::2'], hostIps: ['2001:db8::a'] }));
  const nowhere = { addresses: [], nodeName: '', hostIps: [], hostNetwork: true };
  pods.upsert(podRecord({ uid: 'pending', name: 'pending', ...nowhere }));
  // Its kubelet says that it is on another node than it is.
  pods.upsert(podRecord({ uid: 'liar', name: 'liar', nodeName: 'node-2', addresses: [NODE], hostNetwork: true }));
  const unproven: string[] = [];
  const reviews: Record<string, TokenReview> = {
    'token-of-agent': tokenOf('agent', { nodeName: 'node-1' }),
    'old-token-of-agent': tokenOf('agent'),
    'token-of-liar': tokenOf('liar', { nodeName: 'node-2' }),
    'old-token-of-liar': tokenOf('liar'),
    'token-of-other-account': tokenOf('agent', { user: 'system:serviceaccount:team:default', nodeName: 'node-1' }),
    'token-of-pod': tokenOf('uid-1', { nodeName: 'node-1' }),
    'token-of-pending': tokenOf('pending'),
    'token-of-unknown': tokenOf('unknown', { nodeName: 'node-1' }),
    'token-in-outage': { kind: 'unavailable' },
  };
  const scope = new AgentScope({
    mode,
    serviceAccount: AGENTS,
    index: new NodeIndex(pods),
    pods,
    reviewToken: (token) => Promise.resolve(reviews[token] ?? { kind: 'refused' }),
    logger,
    countUnproven: (address) => void unproven.push(address),
  });
  const { signal } = new AbortController();
  return {
    lines,
    unproven,
    of: (peer: string, token = '', hostIp = '') => scope.of({ peer, token, hostIp, certificate: () => '' }, signal),
  };
}

const heldTo = (address: string) => ({ kind: 'node', node: { by: 'address', address } });
const HELD = heldTo(NODE);
const ANY = { kind: 'any' };
const REFUSED = { kind: 'refused' };

describe('the scope of an agent by its address', () => {
  const callers = [
    // [what calls, peer, auto, host-ip]
    ['an agent of the host network', `${NODE}:40000`, HELD, HELD],
    ['the same, in IPv6 clothes', `[::ffff:${NODE}]:40000`, HELD, HELD],
    ['the same, without brackets', `::ffff:${NODE}:40000`, HELD, HELD],
    ['an agent on an IPv6 node', '[2001:DB8::A]:40000', heldTo('2001:db8::a'), heldTo('2001:db8::a')],
    ['the same, as Node writes it', '2001:db8::a:40000', heldTo('2001:db8::a'), heldTo('2001:db8::a')],
    [
      'an agent that dials by the other family of its node',
      '[2001:db8::b]:1',
      heldTo('2001:db8::b'),
      heldTo('2001:db8::b'),
    ],
    ['a pod', '192.0.2.1:40000', REFUSED, REFUSED],
    ['a pod by IPv6', '2001:db8::1:40000', REFUSED, REFUSED],
    ['a tunnel address', '203.0.113.1:40000', ANY, REFUSED],
    ['an address that an ended pod had', '192.0.2.3:40000', ANY, REFUSED],
    ['no address', 'unknown', ANY, REFUSED],
    ['nothing', '', ANY, REFUSED],
  ] as const;
  for (const [what, peer, auto, hostIp] of callers) {
    it(`the scope of an agent by its address of ${what}`, async () => {
      assert.deepEqual(await scopeThat('auto').of(peer), auto);
      assert.deepEqual(await scopeThat('host-ip').of(peer), hostIp);
      assert.deepEqual(await scopeThat('off').of(peer), ANY);
    });
  }

  it('the scope of an agent by its address warns of each address once, and counts every call of those that are not held', async () => {
    const { lines, unproven, of } = scopeThat('auto');
    for (const peer of ['203.0.113.1:1', '203.0.113.1:2', '203.0.113.2:1', '192.0.2.1:1', `${NODE}:1`]) await of(peer);
    assert.deepEqual(
      lines.map(({ level, fields }) => [level, fields['agent.address']]),
      [
        ['warn', '203.0.113.1'],
        ['warn', '203.0.113.2'],
        ['warn', '192.0.2.1'],
      ],
    );
    assert.deepEqual(unproven, ['203.0.113.1', '203.0.113.1', '203.0.113.2']);
  });

  it('the scope of an agent by its address names the flag that refuses', async () => {
    const { lines, of } = scopeThat('host-ip');
    await of('203.0.113.1:1');
    assert.match(lines[0]?.message ?? '', /--agent-identity=host-ip/);
  });

  it('the scope of an agent by its address names the address seen and the one that the agent should have called from, once it says so', async () => {
    for (const mode of ['auto', 'host-ip'] as const) {
      const { lines, of } = scopeThat(mode);
      for (const hostIp of [undefined, '198.51.100.7', '198.51.100.7', 'x\n']) await of('203.0.113.1:1', '', hostIp);
      assert.deepEqual(
        lines.map(({ fields }) => fields),
        [
          { 'agent.address': '203.0.113.1' },
          { 'agent.address': '203.0.113.1', 'agent.expected_address': '198.51.100.7' },
        ],
      );
    }
  });
});

describe('the scope of an agent by its token', () => {
  const provenAs = (name: string, agentUid: string) => ({ kind: 'node', node: { by: 'name', name }, agentUid });
  const tokens = [
    ['token-of-agent', provenAs('node-1', 'agent')],
    ['old-token-of-agent', provenAs('node-1', 'agent')],
    ['token-of-liar', provenAs('node-2', 'liar')],
    ['old-token-of-liar', provenAs('node-2', 'liar')],
    ['token-of-other-account', REFUSED],
    ['token-of-pod', REFUSED],
    ['token-of-pending', REFUSED],
    ['token-of-unknown', { kind: 'unknown' }],
    ['token-in-outage', { kind: 'unknown' }],
    ['token-of-nobody', REFUSED],
    ['', REFUSED],
  ] as const;
  for (const [token, expected] of tokens) {
    it(`the scope of an agent by its token of '${token}', wherever it calls from`, async () => {
      for (const peer of [`${NODE}:1`, '203.0.113.1:1', '192.0.2.1:1', '']) {
        assert.deepEqual(await scopeThat('token').of(peer, token), expected);
      }
    });
  }

  it('the scope of an agent by its token never logs a token', async () => {
    const { lines, of } = scopeThat('token');
    for (const [token] of tokens) await of('203.0.113.1:1', token);
    assert.ok(lines.length > 0);
    assert.doesNotMatch(JSON.stringify(lines), /token-/);
  });
});
