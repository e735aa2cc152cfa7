import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { type Combination, COMBINATIONS, measureRenewals } from '../../support/renewals.ts';

const nameOf = ({ askedHours, grantedHours, refreshMinutes }: Combination): string =>
  `sessions of ${askedHours} h asked for, ${grantedHours} h granted, --session-refresh=${refreshMinutes}m`;

describe('over 6 hours, an identity costs half a call for each half of the life that was granted, and is never without a set', () => {
  for (const combination of COMBINATIONS) {
    it(nameOf(combination), async (t) => {
      const { perIdentityHour, refused, longestGapSeconds } = await measureRenewals(combination, {
        hours: 6,
        identities: 5,
      });
      t.diagnostic(`${perIdentityHour.toFixed(2)} calls an hour, ${refused} refused`);
      // One call at the beginning, and one for each half of a life, less the twentieth by which calls are spread.
      const needed = 1 / 6 + 2 / combination.grantedHours;
      assert.ok(perIdentityHour <= needed * 1.1, `${perIdentityHour} calls an hour`);
      assert.ok(perIdentityHour >= 0.9 * (2 / combination.grantedHours), `${perIdentityHour} calls an hour`);
      assert.ok(refused <= 5, `${refused} refused`);
      assert.ok(longestGapSeconds <= 10, `${longestGapSeconds} s without a set`);
    });
  }

  it('over 6 hours, an identity costs half a call for each half of the life that was granted, and is never without a set asks for no set again within minutes, whatever --session-refresh says', async (t) => {
    for (const refreshMinutes of [59, 60, 1000]) {
      const combination = { askedHours: 1, grantedHours: 1, refreshMinutes };
      const { perIdentityHour } = await measureRenewals(combination, { hours: 3, identities: 5 });
      t.diagnostic(`--session-refresh=${refreshMinutes}m: ${perIdentityHour.toFixed(2)} calls an hour`);
      assert.ok(perIdentityHour <= 13, `${perIdentityHour} calls an hour`);
    }
  });
});
