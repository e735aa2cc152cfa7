import { fileURLToPath } from 'node:url';

import { findHelm } from '../support/helm.ts';
import { describeKube2iamMigration } from '../support/kube2iam-migration.ts';
import { networkSkip } from '../support/network-world.ts';

const STAND_IN = fileURLToPath(new URL('../support/kube2iam-stand-in.ts', import.meta.url));
const helm = findHelm();
helm.remove();

describeKube2iamMigration(
  'the migration page of kube2iam, with a stand-in of it',
  ({ kube2iam }) => [process.execPath, STAND_IN, kube2iam.file],
  (await networkSkip()) || helm.skip,
);
