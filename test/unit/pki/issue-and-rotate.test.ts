import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseAllDocuments } from 'yaml';

import { readPkiFolder, type PkiFolder, type PkiState, writePkiFolder } from '#pki/folder.ts';
import { serverNamesIn } from '#pki/kiam-pairs.ts';
import { secretManifests } from '#pki/secrets.ts';
import { createPki, type IssueResult, renewPairs } from '#pki/issue.ts';
import { beginRotation, finishRotation } from '#pki/rotate.ts';
import { systemClock } from '#runtime/clock.ts';

const HOUR_MS = 3_600_000;
const options = {
  clock: systemClock,
  serverNames: serverNamesIn('kube-system'),
  validForMs: 24 * HOUR_MS,
  authorityValidForMs: 240 * HOUR_MS,
};

describe('the certificates that kiam pki makes', () => {
  it('the certificates that kiam pki makes are good for a server under every name of its Service, which may ask itself, and for a client alone', async () => {
    const { server, agent, authority } = await made(createPki(options));
    const [leaf, client] = [certificate(server.certificatePem), certificate(agent.certificatePem)];
    for (const name of ['kiam-server', 'kiam-server.kube-system.svc', 'kiam-server.kube-system.svc.cluster.local']) {
      assert.equal(leaf.checkHost(name), name);
    }
    assert.equal(leaf.checkIP('127.0.0.1'), '127.0.0.1');
    assert.equal(leaf.checkHost('kiam-server.default'), undefined);
    assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    assert.deepEqual(client.keyUsage, ['1.3.6.1.5.5.7.3.2']);
    for (const each of [leaf, client]) {
      assert.ok(!each.ca && each.verify(certificate(authority.certificatePem).publicKey));
      assert.equal(each.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
      assert.ok(Math.abs(each.validToDate.getTime() - Date.now() - options.validForMs) < HOUR_MS);
    }
  });

  it('the certificates that kiam pki makes never outlive their authority', async () => {
    const { server, authority } = await made(createPki({ ...options, validForMs: 1000 * HOUR_MS }));
    assert.equal(certificate(server.certificatePem).validTo, certificate(authority.certificatePem).validTo);
  });

  it('the certificates that kiam pki makes are renewed by the same authority, which alone is trusted then', async () => {
    const first = await made(createPki(options));
    const renewed = await made(renewPairs(whole(first), options));
    assert.equal(renewed.authoritiesPem, first.authority.certificatePem);
    assert.notEqual(renewed.server.privateKeyPem, first.server.privateKeyPem);
    assert.ok(isTrusted(renewed.agent.certificatePem, first.authoritiesPem));
  });
});

describe('a rotation of the CA', () => {
  it('a rotation of the CA leaves at every moment each side trusting what the other shows, be it a step behind', async () => {
    const before = await made(createPki(options));
    const begun = await made(beginRotation(whole(before), options));
    const finished = await made(finishRotation(whole(begun), options));
    const ended = await made(renewPairs(whole(finished), options));
    const states = [before, begun, finished, ended];
    for (const [index, state] of states.entries()) {
      for (const other of states.slice(Math.max(0, index - 1), index + 2)) {
        assert.ok(isTrusted(other.server.certificatePem, state.authoritiesPem), `state ${index} refuses a server`);
        assert.ok(isTrusted(other.agent.certificatePem, state.authoritiesPem), `state ${index} refuses an agent`);
      }
    }
    assert.notEqual(ended.authority.certificatePem, before.authority.certificatePem);
    assert.ok(!isTrusted(before.agent.certificatePem, ended.authoritiesPem), 'the old CA is trusted for ever');
  });

  it('a rotation of the CA can be finished again when its writing was interrupted, and still trusts the old authority', async () => {
    const begun = await made(beginRotation(whole(await made(createPki(options))), options));
    const finished = await made(finishRotation(whole(begun), options));
    const again = await made(finishRotation({ ...whole(finished), next: begun.next }, options));
    assert.ok(isTrusted(begun.agent.certificatePem, again.authoritiesPem));
  });

  it('a rotation of the CA refuses what it cannot do, and shows no key', async () => {
    const first = await made(createPki(options));
    const begun = await made(beginRotation(whole(first), options));
    const other = await made(createPki(options));
    const mixed = { ...first.authority, privateKeyPem: other.authority.privateKeyPem };
    const refused: readonly (readonly [Promise<IssueResult>, RegExp])[] = [
      [finishRotation(whole(first), options), /begin it/],
      [beginRotation(whole(begun), options), /has begun already/],
      [renewPairs(whole(begun), options), /finish it/],
      [beginRotation({ ...whole(first), agent: undefined }, options), /lacks the pairs/],
      [renewPairs({ authority: undefined, next: undefined }, options), /not there/],
      [renewPairs({ authority: mixed, next: undefined }, options), /not the key of the CA/],
      [renewPairs({ authority: first.server, next: undefined }, options), /not that of an authority/],
      [renewPairs({ authority: { ...mixed, privateKeyPem: 'x' }, next: undefined }, options), /no private key/],
    ];
    for (const [step, reason] of refused) {
      const taken = await step;
      assert.ok(!taken.ok);
      assert.match(taken.reason, reason);
      assert.doesNotMatch(taken.reason, /PRIVATE KEY/);
    }
  });
});

it('A folder gives back what was written, for its owner alone, and nothing of a rotation that has ended', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-pki-'));
  t.after(() => rm(folder, { recursive: true }));
  const begun = await made(beginRotation(whole(await made(createPki(options))), options));
  await writePkiFolder(folder, begun);
  assert.deepEqual(await readPkiFolder(folder), begun);
  const finished = await made(finishRotation(await readPkiFolder(folder), options));
  await writePkiFolder(folder, finished);
  assert.deepEqual(await readPkiFolder(folder), whole(finished));
  for (const name of await readdir(folder)) {
    assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
  }
  assert.equal((await readdir(folder)).filter((name) => /next|new/.test(name)).length, 0);
});

it('The two Secrets are named and filled as the manifests mount them, and hold no key of the CA', async () => {
  const state = await made(createPki(options));
  const text = secretManifests(state, 'kiam-system');
  const [server, agent, ...others] = parseAllDocuments(text).map((document): unknown => document.toJS());
  assert.equal(others.length, 0);
  const secret = (name: string, role: string, data: object): object => ({
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'Opaque',
    metadata: { name, namespace: 'kiam-system', labels: { app: 'kiam', role } },
    data,
  });
  const base64 = (pem: string): string => Buffer.from(pem).toString('base64');
  const ca = base64(state.authoritiesPem);
  assert.deepEqual(
    server,
    secret('kiam-server-tls', 'server', {
      'ca.pem': ca,
      'server.pem': base64(state.server.certificatePem),
      'server-key.pem': base64(state.server.privateKeyPem),
    }),
  );
  assert.deepEqual(
    agent,
    secret('kiam-agent-tls', 'agent', {
      'ca.pem': ca,
      'agent.pem': base64(state.agent.certificatePem),
      'agent-key.pem': base64(state.agent.privateKeyPem),
    }),
  );
});

async function made(step: Promise<IssueResult>): Promise<PkiState> {
  const taken = await step;
  assert.ok(taken.ok, taken.ok ? '' : taken.reason);
  return taken.state;
}

function whole(state: PkiState): PkiFolder {
  return { ...state, next: state.next };
}

function certificate(pem: string): X509Certificate {
  return new X509Certificate(pem);
}

function isTrusted(pem: string, authoritiesPem: string): boolean {
  const leaf = certificate(pem);
  const authorities = authoritiesPem.match(/-----BEGIN[^]*?-----END CERTIFICATE-----/g) ?? [];
  return authorities.some((authority) => leaf.verify(certificate(authority).publicKey));
}
