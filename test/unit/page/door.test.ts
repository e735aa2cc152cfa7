import assert from 'node:assert/strict';
import { it } from 'node:test';

import { isAskedByOtherSite, refusalOf } from '#page/door.ts';

const from = (remoteAddress: string | undefined, host: string | undefined): string | undefined =>
  refusalOf({ headers: { host }, socket: { remoteAddress } as Parameters<typeof refusalOf>[0]['socket'] });

it('the page is for whoever asks this machine by its own names', () => {
  for (const host of ['localhost', 'localhost:9622', 'LOCALHOST:80', '127.0.0.1:9622', '[::1]:9622']) {
    assert.equal(from('127.0.0.1', host), undefined, host);
  }
  assert.equal(from('::1', 'localhost:9622'), undefined);
  assert.equal(from('::ffff:127.0.0.1', 'localhost:9622'), undefined);
});

it('the page is not for a name that somebody else has pointed at this machine', () => {
  const foreign = [
    'evil.example',
    'localhost.evil.example',
    'evil.example:9622',
    '127.0.0.1.nip.io',
    'localhost:x',
    '',
  ];
  for (const host of [...foreign, 'localhost:9622 ', 'a@localhost', '127.0.0.2', '0.0.0.0:9622', '[::]', undefined]) {
    assert.match(from('127.0.0.1', host) ?? '', /http:\/\/localhost:PORT/, host);
  }
});

it('the page is not for a packet from elsewhere that was sent to a loopback address', () => {
  for (const peer of ['10.0.1.12', '192.168.127.1', '::ffff:10.0.1.12', 'fe80::1', '', undefined]) {
    assert.match(from(peer, 'localhost:9622') ?? '', /only this machine/, peer);
  }
});

it('the page does not answer what another site has its visitor’s browser ask', () => {
  for (const site of ['cross-site', 'same-site', 'anything']) {
    assert.equal(isAskedByOtherSite({ headers: { 'sec-fetch-site': site } }), true);
  }
  for (const site of ['same-origin', 'none']) {
    assert.equal(isAskedByOtherSite({ headers: { 'sec-fetch-site': site } }), false);
  }
  assert.equal(isAskedByOtherSite({ headers: {} }), false);
});
