import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';

import { secretManifests } from '#pki/secrets.ts';
import { type JsonObject, textsAt } from '#sandbox/json.ts';
import { startWorld, type World } from '#sandbox/world.ts';
import { parseAllDocuments } from 'yaml';

import { type ApiClient, apiClient } from '../support/api-client.ts';
import { CHART, findHelm } from '../support/helm.ts';

const helm = findHelm();
const DAY_MS = 86_400_000;
const SECRETS = '/api/v1/namespaces/kube-system/secrets';
const PARTS = ['agent', 'server'] as const;

describe('helm install of the chart, with nothing given', { skip: helm.skip }, () => {
  let folder: string;
  let world: World;
  let api: ApiClient;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kiam-helm-install-'));
  });
  beforeEach(async () => {
    api?.close();
    await world?.close();
    world = await startWorld({ folder, path: process.env['PATH'] ?? '' });
    api = apiClient(await readFile(world.kubeconfigs.admin, 'utf8'));
  });
  after(async () => {
    api?.close();
    await world?.close();
    await rm(folder, { recursive: true, force: true });
    helm.remove();
  });

  const succeeds = async (command: 'install' | 'upgrade' | 'uninstall'): Promise<void> => {
    const chart = command === 'uninstall' ? [] : [CHART];
    const args = [command, 'kiam', ...chart, '--namespace', 'kube-system'];
    const { status, stderr } = await helm.run(args, world.kubeconfigs.admin);
    assert.equal(status, 0, stderr);
  };
  const secret = (name: string): JsonObject | undefined => world.api.secret('kube-system', name);
  const dataOf = (name: string): Readonly<Record<string, string>> => textsAt(secret(name) ?? {}, 'data');
  const all = (): string => JSON.stringify(['ca', ...PARTS].map((part) => dataOf(`kiam-generated-${part}`)));
  const pem = (name: string, file: string): string => Buffer.from(dataOf(name)[file] ?? '', 'base64').toString();
  const certificate = (part: string): X509Certificate =>
    new X509Certificate(pem(`kiam-generated-${part}`, `${part}.pem`));
  /** What the Secret of a pair says of its end, as it is so many days before. */
  const setDaysLeft = async (part: string, days: number): Promise<void> => {
    const ends = new Date(Date.now() + days * DAY_MS).toISOString().replace(/\.\d+Z/, 'Z');
    const annotations = { 'kiam/ends': ends };
    await api.demand('PATCH', `${SECRETS}/kiam-generated-${part}`, { metadata: { annotations } });
  };

  it('helm install of the chart, with nothing given makes a CA for ten years and both pairs for one, which trust each other by the names that agents dial', async () => {
    await succeeds('install');
    const authority = new X509Certificate(pem('kiam-generated-ca', 'ca.pem'));
    assert.equal(authority.ca, true);
    const days = (one: X509Certificate): number => Math.round((Date.parse(one.validTo) - Date.now()) / DAY_MS);
    assert.equal(days(authority), 3650);
    for (const part of PARTS) {
      const one = certificate(part);
      assert.equal(days(one), 365);
      assert.ok(one.verify(authority.publicKey) && !one.ca);
      assert.equal(pem(`kiam-generated-${part}`, 'ca.pem'), authority.toString());
    }
    const server = certificate('server');
    for (const name of ['kiam-server', 'kiam-server.kube-system.svc', 'localhost'])
      assert.equal(server.checkHost(name), name);
    assert.equal(server.checkIP('127.0.0.1'), '127.0.0.1');
    assert.equal(certificate('agent').checkHost('kiam-server', { subject: 'always' }), undefined);
  });

  it('helm install of the chart, with nothing given changes no pair at two upgrades, and one of which 65 days are left at the next, by the same CA', async () => {
    await succeeds('install');
    const first = all();
    await succeeds('upgrade');
    await succeeds('upgrade');
    assert.equal(all(), first);
    const before = {
      authority: pem('kiam-generated-ca', 'ca.pem'),
      agent: certificate('agent'),
      server: certificate('server'),
    };
    // As after 300 days of 365.
    await setDaysLeft('agent', 65);
    await setDaysLeft('server', 95);
    await succeeds('upgrade');
    assert.equal(pem('kiam-generated-ca', 'ca.pem'), before.authority);
    assert.equal(certificate('server').fingerprint256, before.server.fingerprint256, '95 days are enough');
    const renewed = certificate('agent');
    assert.notEqual(renewed.fingerprint256, before.agent.fingerprint256);
    assert.ok(renewed.verify(new X509Certificate(before.authority).publicKey));
    const after = all();
    await succeeds('upgrade');
    assert.equal(all(), after, 'it is renewed once');
  });

  it('helm install of the chart, with nothing given keeps the CA when the release is removed, and the next release of that name has the same', async () => {
    await succeeds('install');
    const before = pem('kiam-generated-ca', 'ca.pem');
    await succeeds('uninstall');
    assert.equal(secret('kiam-generated-agent'), undefined);
    assert.equal(pem('kiam-generated-ca', 'ca.pem'), before);
    await succeeds('install');
    assert.equal(pem('kiam-generated-ca', 'ca.pem'), before);
    assert.ok(certificate('agent').verify(new X509Certificate(before).publicKey));
  });

  it('helm install of the chart, with nothing given uses the Secrets of kiam pki where they are, and makes none', async () => {
    const pair = { certificatePem: 'certificate', privateKeyPem: 'key' };
    const manifest = secretManifests({ authoritiesPem: 'ca', server: pair, agent: pair }, 'kube-system');
    for (const document of parseAllDocuments(manifest)) await api.demand('POST', SECRETS, document.toJS());
    await succeeds('install');
    assert.equal(secret('kiam-generated-ca'), undefined);
    const daemonSet = await api.demand('GET', '/apis/apps/v1/namespaces/kube-system/daemonsets/kiam-agent');
    assert.match(JSON.stringify(daemonSet), /"secretName":"kiam-agent-tls"/);
  });
});
