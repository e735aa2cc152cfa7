import { checkContainerCredentials } from '#doctor/container-credentials.ts';
import { checkPod } from '#doctor/pod.ts';
import { systemClock } from '#runtime/clock.ts';

import type { DoctorLine } from '../flags/command-line.ts';
import { report } from './report.ts';

/** `kiam doctor pod`: checks what an SDK in this pod would be answered. */
export async function runDoctorPod({ flags }: Extract<DoctorLine, { kind: 'pod' }>): Promise<void> {
  const { metadataEndpoint: endpoint } = flags;
  const { env: environment } = process;
  const clock = systemClock;
  return report(
    [
      { name: 'pod', look: (signal) => checkPod({ endpoint, clock, signal }) },
      { name: 'container credentials', look: (signal) => checkContainerCredentials({ environment, clock, signal }) },
    ],
    flags,
  );
}
