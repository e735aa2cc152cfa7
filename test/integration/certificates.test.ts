import assert from 'node:assert/strict';
import { unlink, writeFile } from 'node:fs/promises';
import { afterEach, describe, it } from 'node:test';

import { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import { createAuthority } from '#pki/authority.ts';
import { createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { createSecretFolder, type Pem, type SecretFolder } from '../support/certificates.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const NOW = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;

async function watched(pem: Pem & { caPem: string }) {
  const folder = await createSecretFolder(pem);
  folders.push(folder);
  const registry = createRegistry({ processMetrics: false });
  const { logger, lines } = recordingLogger();
  const clock = new ManualClock(NOW);
  const watcher = new CertificateWatcher({
    files: folder.files,
    clock,
    logger,
    gauges: createTlsMetrics(registry, 'server'),
  });
  await watcher.refresh();
  const gauge = async (name: string): Promise<number> =>
    Number(new RegExp(`^grpc_server_tls_certificate_${name} (.*)$`, 'm').exec(await registry.metrics())?.[1]);
  const errors = (): string[] =>
    lines.filter((line) => line.level === 'error').map((line) => String(line.fields['error']));
  return { folder, watcher, clock, gauge, errors };
}

const folders: SecretFolder[] = [];

/** The gauges of errors, in Kiam's order. */
async function errorGauges(gauge: (name: string) => Promise<number>): Promise<number[]> {
  return [await gauge('update_error'), await gauge('verify_error')];
}

async function issued(
  dates: { notBefore?: Date; notAfter?: Date } = {},
  from?: Awaited<ReturnType<typeof createAuthority>>,
) {
  const authority = from ?? (await createAuthority({ clock: new ManualClock(NOW) }));
  const pem = await authority.issue({
    commonName: 'kiam-server',
    dnsNames: ['kiam-server'],
    usage: 'server',
    ...dates,
  });
  return { ...pem, caPem: authority.certificatePem };
}

describe('certificate files', () => {
  afterEach(async () => {
    for (const folder of folders.splice(0)) await folder.remove();
  });

  it('certificate files that fit are in force, and the gauges say until when', async () => {
    const { watcher, gauge, errors } = await watched(await issued({ notAfter: new Date(NOW + DAY_MS) }));
    assert.ok(watcher.current);
    assert.equal(await gauge('expiry_seconds'), (NOW + DAY_MS) / 1000);
    assert.deepEqual([await gauge('update_error'), await gauge('verify_error'), errors()], [0, 0, []]);
  });

  for (const [what, spoil, pattern, gauges = [1, 0]] of [
    [
      'a key of another certificate',
      async (good: Pem) => ({ ...good, privateKeyPem: (await issued()).privateKeyPem }),
      /tls-key\.pem is not the key of the certificate/,
    ],
    [
      'a half-written certificate',
      (good: Pem) => ({ ...good, certificatePem: good.certificatePem.slice(0, 200) }),
      /tls\.pem holds no certificate/,
    ],
    ['an empty key', (good: Pem) => ({ ...good, privateKeyPem: '' }), /tls-key\.pem holds no usable private key/],
    ['an empty CA file', (good: Pem) => ({ ...good, caPem: '' }), /ca\.pem holds no certificate/],
    [
      'a CA that did not issue it',
      async (good: Pem) => ({ ...good, caPem: (await issued()).caPem }),
      /was not issued by any certificate of the CA file/,
      [0, 1],
    ],
    [
      'a certificate that has expired',
      () => issued({ notBefore: new Date(NOW - 2 * DAY_MS), notAfter: new Date(NOW - DAY_MS) }),
      /has expired at 2026-05-31T00:00:00.000Z/,
      [0, 1],
    ],
    [
      'a certificate of tomorrow',
      () => issued({ notBefore: new Date(NOW + DAY_MS), notAfter: new Date(NOW + 2 * DAY_MS) }),
      /is not valid before 2026-06-02T00:00:00.000Z/,
      [0, 1],
    ],
  ] as const) {
    it(`certificate files with ${what} never replace a good set; the log says so once`, async () => {
      const good = await issued();
      const { folder, watcher, gauge, errors } = await watched(good);
      const serial = watcher.current?.serialNumber;
      await folder.put({ caPem: good.caPem, ...(await spoil(good)) });
      await watcher.refresh();
      await watcher.refresh();
      assert.equal(watcher.current?.serialNumber, serial);
      assert.deepEqual(await errorGauges(gauge), gauges);
      assert.equal(errors().length, 1);
      assert.match(errors()[0] ?? '', pattern);
      assert.doesNotMatch(errors()[0] ?? '', /PRIVATE|MII/);

      const better = await issued();
      await folder.put(better);
      await watcher.refresh();
      assert.notEqual(watcher.current?.serialNumber, serial);
      assert.deepEqual(await errorGauges(gauge), [0, 0]);
      assert.equal(watcher.problem, undefined);
    });
  }

  it('certificate files whose authority ends first say when that is, and raise the gauge when it has ended', async () => {
    const authority = await createAuthority({ clock: new ManualClock(NOW), notAfter: new Date(NOW + DAY_MS) });
    const { watcher, clock, gauge, errors } = await watched(await issued({}, authority));
    assert.equal(await gauge('expiry_seconds'), (NOW + DAY_MS) / 1000);
    assert.deepEqual([await errorGauges(gauge), errors()], [[0, 0], []]);
    await clock.advance(DAY_MS);
    await watcher.refresh();
    await watcher.refresh();
    assert.deepEqual(await errorGauges(gauge), [0, 1]);
    assert.equal(errors().length, 1);
    assert.match(
      errors()[0] ?? '',
      /the CA in .*ca\.pem that issued .*tls\.pem has expired at 2026-06-02T00:00:00\.000Z/,
    );
    assert.equal(watcher.problem, errors()[0]);
  });

  it('certificate files of an authority outside its dates are taken like others: no pair of it would be better', async () => {
    const ended = await createAuthority({ clock: new ManualClock(NOW), notAfter: new Date(NOW - DAY_MS) });
    const tomorrows = await createAuthority({ clock: new ManualClock(NOW + DAY_MS) });
    for (const [authority, pattern] of [
      [ended, /has expired at/],
      [tomorrows, /is not valid before/],
    ] as const) {
      const { folder, watcher, gauge, errors } = await watched(await issued({}));
      const serial = watcher.current?.serialNumber;
      await folder.put(await issued({ notBefore: new Date(NOW - DAY_MS) }, authority));
      await watcher.refresh();
      assert.notEqual(watcher.current?.serialNumber, serial);
      assert.deepEqual(await errorGauges(gauge), [0, 1]);
      assert.match(errors()[0] ?? '', pattern);
    }
  });

  it('certificate files with an authority that has expired beside their own are good', async () => {
    const ended = await createAuthority({ clock: new ManualClock(NOW), notAfter: new Date(NOW - DAY_MS) });
    const good = await issued({ notAfter: new Date(NOW + DAY_MS) });
    const { gauge, errors } = await watched({ ...good, caPem: ended.certificatePem + good.caPem });
    assert.equal(await gauge('expiry_seconds'), (NOW + DAY_MS) / 1000);
    assert.deepEqual([await errorGauges(gauge), errors()], [[0, 0], []]);
  });

  it('certificate files that cannot be used leave the gauge of what is verified as it was', async () => {
    const old = await issued({ notAfter: new Date(NOW + DAY_MS) });
    const { folder, watcher, clock, gauge } = await watched(old);
    await clock.advance(DAY_MS);
    await watcher.refresh();
    assert.deepEqual(await errorGauges(gauge), [0, 1]);
    await folder.put({ ...old, privateKeyPem: '' });
    await watcher.refresh();
    assert.deepEqual(await errorGauges(gauge), [1, 1]);
  });

  it('certificate files that are gone leave the good set in force and raise the gauge', async () => {
    const { folder, watcher, gauge, errors } = await watched(await issued());
    await unlink(folder.files.keyPath);
    await watcher.refresh();
    assert.ok(watcher.current);
    assert.equal(await gauge('update_error'), 1);
    assert.match(errors()[0] ?? '', /tls-key\.pem: ENOENT/);
  });

  it('certificate files that name two authorities trust both, as a change of authority needs', async () => {
    const [old, next] = [await issued(), await issued()];
    const { watcher, errors } = await watched({ ...next, caPem: old.caPem + next.caPem });
    assert.ok(watcher.current);
    assert.deepEqual(errors(), []);
  });

  it('certificate files that grow old in force raise the gauge by themselves', async () => {
    const { watcher, clock, gauge, errors } = await watched(await issued({ notAfter: new Date(NOW + DAY_MS) }));
    await clock.advance(DAY_MS);
    await watcher.refresh();
    assert.equal(await gauge('verify_error'), 1);
    assert.match(errors()[0] ?? '', /has expired/);
  });

  it('certificate files that hold nothing usable from the start are told, and taken once they are fixed', async () => {
    const good = await issued();
    const { folder, watcher } = await watched({ ...good, privateKeyPem: 'nonsense' });
    assert.equal(watcher.current, undefined);
    assert.match(watcher.problem ?? '', /tls-key\.pem/);
    await writeFile(folder.files.keyPath, good.privateKeyPem);
    await watcher.refresh();
    assert.ok(watcher.current);
  });

  it('certificate files are read at once when Kubernetes swaps them, while watched', async () => {
    const { folder, watcher, clock } = await watched(await issued());
    const serial = watcher.current?.serialNumber;
    const stop = new AbortController();
    const watching = watcher.watch(stop.signal);
    const renewed = new Promise<string>((resolve) => {
      watcher.subscribe((snapshot) => {
        if (snapshot.serialNumber !== serial) resolve(snapshot.serialNumber);
      });
    });
    await folder.put(await issued());
    await clock.advance(1000);
    assert.notEqual(await renewed, serial);
    stop.abort();
    await watching;
  });
});
