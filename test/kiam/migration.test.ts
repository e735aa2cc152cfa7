import { describeMigration } from '../support/migration.ts';
import { networkSkip } from '../support/network-world.ts';

import { KIAM_PROGRAM, withoutKiam } from './real-kiam.ts';

describeMigration('the migration page, with the real Kiam', () => [KIAM_PROGRAM], withoutKiam || (await networkSkip()));
