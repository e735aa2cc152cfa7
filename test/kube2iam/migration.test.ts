import { fileURLToPath } from 'node:url';

import { findHelm } from '../support/helm.ts';
import { describeKube2iamMigration } from '../support/kube2iam-migration.ts';
import { networkSkip } from '../support/network-world.ts';
import { KUBE2IAM_PROGRAM, withoutKube2iam } from './real-kube2iam.ts';

const PROCESS = fileURLToPath(new URL('./real-kube2iam-process.ts', import.meta.url));
const helm = findHelm();
helm.remove();

describeKube2iamMigration(
  'the migration page of kube2iam, with the real one',
  () => [process.execPath, PROCESS, KUBE2IAM_PROGRAM],
  withoutKube2iam || (await networkSkip()) || helm.skip,
);
