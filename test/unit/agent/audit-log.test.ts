import assert from 'node:assert/strict';
import { mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { createAuditLog, type Served } from '#agent/audit-log.ts';
import { createPodSource } from '#agent/container/pod-source.ts';
import { NodeStore } from '#agent/node/store.ts';
import { failed } from '#domain/failure.ts';
import { createFileWriter } from '#bin/audit-log.ts';
import { formatAuditLine, parseAuditLine } from '#domain/audit-line.ts';
import type { MetadataCredentials } from '#domain/credentials.ts';

import { eventually } from '../../support/eventually.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { NO_MEMORY } from '../../support/no-memory.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { credentialsUpdate, podClaims, podUpdate } from './node/updates.ts';

const AT_MS = Date.parse('2026-01-02T15:04:05Z');

function pod(index: number): Served {
  return {
    uid: `uid-${index}`,
    name: `app-${index}`,
    namespace: 'team',
    serviceAccount: 'default',
    nodeName: 'node-1',
    roleArn: 'arn:aws:iam::123456789012:role/app',
    sessionName: 'kiam-kiam',
  };
}

function credentials(accessKeyId: string): MetadataCredentials {
  return {
    code: 'Success',
    type: 'AWS-HMAC',
    accessKeyId,
    secretAccessKey: 'SECRET-KEY',
    token: 'SECRET-TOKEN',
    expiration: '2026-01-02T16:04:05Z',
    lastUpdated: '2026-01-02T15:04:05Z',
  };
}

function auditLog() {
  const lines: string[] = [];
  const audit = createAuditLog({ clock: new ManualClock(AT_MS), write: (line) => void lines.push(line) });
  return { lines, audit };
}

test('a pod and an access key are written once, at the first serving, with everything but a secret', () => {
  const { lines, audit } = auditLog();
  const first = credentials('ASIAFIRST');
  for (let serving = 0; serving < 3; serving += 1) {
    audit(pod(1), first);
    audit(pod(2), first);
    audit(pod(1), credentials('ASIASECOND'));
  }
  assert.equal(lines.length, 3);
  assert.deepEqual(JSON.parse(lines[0] ?? ''), {
    audit: 'first-served',
    time: '2026-01-02T15:04:05Z',
    node: 'node-1',
    namespace: 'team',
    pod: 'app-1',
    serviceAccount: 'default',
    uid: 'uid-1',
    roleArn: 'arn:aws:iam::123456789012:role/app',
    sessionName: 'kiam-kiam',
    accessKeyId: 'ASIAFIRST',
    expiration: '2026-01-02T16:04:05Z',
  });
  assert.doesNotMatch(lines.join(''), /SECRET/);
});

test('20,000 sets are each found again, in the order in which they were served', () => {
  const { lines, audit } = auditLog();
  for (let index = 0; index < 20_000; index += 1) audit(pod(index % 300), credentials(`ASIA${index}`));
  const read = lines.map((line) => parseAuditLine(line));
  assert.equal(read.length, 20_000);
  for (const [index, line] of read.entries()) {
    assert.deepEqual([line?.uid, line?.accessKeyId], [`uid-${index % 300}`, `ASIA${index}`]);
  }
});

test('of other lines, whatever they hold, none is taken for one of the audit log', () => {
  const { lines, audit } = auditLog();
  audit(pod(1), credentials('ASIAFIRST'));
  const [line = ''] = lines;
  assert.equal(parseAuditLine(`[pod/kiam-agent-x/agent] ${line}`)?.pod, 'app-1');
  const others = [
    '',
    'ASIAFIRST',
    '{"audit":',
    '{"audit":"first-served"}',
    '{"audit":"other","accessKeyId":"ASIAFIRST"}',
    '{"audit":null}',
    line.slice(0, -3),
    line.replace('"uid-1"', '1'),
  ];
  for (const other of others) assert.equal(parseAuditLine(other), undefined, other);
});

test('a name with a quotation mark or a line break stays within its field', () => {
  const line = { ...parsed(), pod: 'a","accessKeyId":"ASIAOTHER', serviceAccount: 'x\n{"audit":"first-served"}' };
  const text = formatAuditLine(line);
  assert.equal(text.trimEnd().split('\n').length, 1);
  assert.deepEqual(parseAuditLine(text), line);
});

test('a file is written for its owner alone, also after it was renamed, and a failure is said once', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-audit-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'audit.log');
  const { logger, lines } = recordingLogger();
  const write = createFileWriter(path, logger);
  const holds = (text: string) =>
    eventually('it is written', 5000, async () => (await readFile(path, 'utf8').catch(() => '')) === text);
  write('one\n');
  write('two\n');
  await holds('one\ntwo\n');
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  await rename(path, join(folder, 'audit.log.1'));
  write('three\n');
  await holds('three\n');
  const nowhere = createFileWriter(join(folder, 'none', 'audit.log'), logger);
  nowhere('lost\n');
  await eventually('it is said', 5000, () => Promise.resolve(lines.length === 1));
  nowhere('lost\n');
  assert.deepEqual(
    lines.map(({ level, message }) => [level, message]),
    [['error', 'audit lines cannot be written']],
  );
});

test('a pod with the host network that is served by its token is written too', () => {
  const clock = new ManualClock(AT_MS);
  const store = new NodeStore();
  store.apply(credentialsUpdate('identity-1', AT_MS + 3_600_000), clock);
  store.apply(podUpdate({ host_network: true, addresses: [] }), clock);
  const { lines, audit } = auditLog();
  const refused = () => Promise.resolve(failed('forbidden', 'a test'));
  const source = createPodSource({
    source: { ...NO_MEMORY, podRole: refused, podCredentials: refused, serverHealth: refused },
    store,
    stream: { isLive: true, silenceMs: () => 0 },
    clock,
    serveStaleMs: 0,
    audit,
    isNodeAddress: (address) => address === '198.51.100.1',
  });
  const ask = (address: string) =>
    source.known({ address, evidence: { kind: 'none', reason: 'a test' }, acceptedMs: 0 }, podClaims());
  assert.equal(ask('192.0.2.7'), undefined);
  assert.deepEqual(lines, []);
  assert.ok(ask('198.51.100.1'));
  assert.deepEqual([lines.length, parseAuditLine(lines[0] ?? '')?.pod], [1, 'app']);
});

function parsed() {
  const { lines, audit } = auditLog();
  audit(pod(1), credentials('ASIAFIRST'));
  const line = parseAuditLine(lines[0] ?? '');
  assert.ok(line);
  return line;
}
