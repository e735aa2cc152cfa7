import { fileURLToPath } from 'node:url';

import { describeMigration } from '../support/migration.ts';
import { networkSkip } from '../support/network-world.ts';

const STAND_IN = fileURLToPath(new URL('../support/kiam-stand-in.ts', import.meta.url));

describeMigration(
  'the migration page, with a stand-in of Kiam',
  ({ agent, server }) => [process.execPath, STAND_IN, agent.file, server.file],
  await networkSkip(),
);
