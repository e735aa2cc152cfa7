import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { type Authority, createAuthority, type KeyPairPem } from '#pki/authority.ts';

const DAY_MS = 86_400_000;

function serverPair(authority: Authority): Promise<KeyPairPem> {
  return authority.issue({
    commonName: 'kiam-server',
    usage: 'server',
    dnsNames: ['kiam-server', 'localhost'],
    ipAddresses: ['127.0.0.1', '::1', 'fd00:ec2::254'],
  });
}

test('a certificate says what it was issued for', async () => {
  const authority = await createAuthority();
  const issuer = new X509Certificate(authority.certificatePem);
  const certificate = new X509Certificate((await serverPair(authority)).certificatePem);
  assert.ok(issuer.ca && !certificate.ca);
  assert.ok(certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey));
  assert.equal(certificate.checkHost('kiam-server'), 'kiam-server');
  assert.equal(certificate.checkHost('other'), undefined);
  assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1');
  assert.match(certificate.subjectAltName ?? '', /IP Address:FD00:EC2:0:0:0:0:0:254/);
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1']);
});

test('a certificate lives as long as was asked, also in the past and beyond 2049', async () => {
  const authority = await createAuthority();
  const notBefore = new Date('2020-01-02T03:04:05Z');
  for (const notAfter of [new Date('2020-02-02T00:00:00Z'), new Date('2051-01-01T00:00:00Z')]) {
    const { certificatePem } = await authority.issue({ commonName: 'x', usage: 'client', notBefore, notAfter });
    const { validFromDate, validToDate } = new X509Certificate(certificatePem);
    assert.deepEqual([validFromDate, validToDate], [notBefore, notAfter]);
  }
  const usual = new X509Certificate((await authority.issue({ commonName: 'x', usage: 'client' })).certificatePem);
  assert.ok(usual.validFromDate.getTime() < Date.now() && usual.validToDate.getTime() > Date.now() + 300 * DAY_MS);
});

test('serial numbers are positive, of one length and never the same', async () => {
  const authority = await createAuthority();
  const issued = await Promise.all(
    Array.from({ length: 50 }, () => authority.issue({ commonName: 'x', usage: 'client' })),
  );
  const serials = issued.map(({ certificatePem }) => new X509Certificate(certificatePem).serialNumber);
  assert.equal(new Set(serials).size, 50);
  for (const serial of serials) assert.match(serial, /^[4-7][0-9A-F]{31}$/);
});

test('an address that is none is refused', async () => {
  const authority = await createAuthority();
  await assert.rejects(
    authority.issue({ commonName: 'x', usage: 'server', ipAddresses: ['localhost'] }),
    /'localhost' is not an IP address/,
  );
});

test('both sides of a mutual handshake accept what the authority issued, and nothing else', async () => {
  const authority = await createAuthority();
  const stranger = await createAuthority();
  const pair = await serverPair(authority);
  const server = createServer({
    cert: pair.certificatePem,
    key: pair.privateKeyPem,
    ca: authority.certificatePem,
    requestCert: true,
    rejectUnauthorized: true,
    maxVersion: 'TLSv1.2',
  });
  server.on('secureConnection', (socket: TLSSocket) => socket.on('error', () => {}).end('welcome'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const outcome = (client: KeyPairPem, servername: string): Promise<string> =>
    new Promise((resolve) => {
      const options = {
        host: '127.0.0.1',
        port,
        servername,
        ca: authority.certificatePem,
        cert: client.certificatePem,
        key: client.privateKeyPem,
      };
      const socket = connect(options);
      socket.on('data', (data) => resolve(data.toString()));
      socket.on('error', () => resolve('refused'));
      socket.on('close', () => resolve('closed'));
    });
  const request = { commonName: 'kiam-agent', usage: 'client' } as const;
  assert.equal(await outcome(await authority.issue(request), 'kiam-server'), 'welcome');
  assert.equal(await outcome(await authority.issue(request), 'other'), 'refused');
  assert.notEqual(await outcome(await stranger.issue(request), 'kiam-server'), 'welcome');
  assert.notEqual(await outcome(await authority.issue({ ...request, usage: 'server' }), 'kiam-server'), 'welcome');
  assert.notEqual(
    await outcome(await authority.issue({ ...request, notAfter: new Date(Date.now() - 1000) }), 'kiam-server'),
    'welcome',
  );
  server.close();
});
