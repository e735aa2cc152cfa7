import assert from 'node:assert/strict';
import { test } from 'node:test';

import { checkCertificates } from '#doctor/certificates.ts';
import { createAuthority } from '#pki/authority.ts';
import { readCertificates } from '#rpc/certificates.ts';

import { createSecretFolder } from '../../support/certificates.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const NOW = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;

const CASES: readonly (readonly [what: string, endsInDays: number, says: RegExp])[] = [
  ['that has ended', -1, /^the CA in .*ca\.pem that issued .*tls\.pem has expired at 2026-05-31T/],
  ['that ends within a week', 3, /^the CA in .*ca\.pem ends at 2026-06-04T/],
];

for (const [what, days, says] of CASES) {
  test(`The doctor names an authority ${what} once, and its rotation as what to do`, async () => {
    const authority = await createAuthority({
      clock: new ManualClock(NOW - 30 * DAY_MS),
      notAfter: new Date(NOW + days * DAY_MS),
    });
    const pem = await authority.issue({ commonName: 'kiam-agent', usage: 'client' });
    const folder = await createSecretFolder({ ...pem, caPem: authority.certificatePem });
    try {
      const { files } = folder;
      const reading = await readCertificates(files, NOW);
      const [observation, ...others] = checkCertificates({ files, reading, side: 'client', nowMs: NOW });
      assert.ok(observation?.verdict === 'wrong');
      assert.match(observation.says, says);
      assert.match(observation.fix, /--rotate-ca/);
      assert.deepEqual(others, []);
    } finally {
      await folder.remove();
    }
  });
}
