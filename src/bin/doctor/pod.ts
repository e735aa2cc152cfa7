import { checkPod } from '#doctor/pod.ts';
import { systemClock } from '#runtime/clock.ts';

import type { DoctorPodFlags } from '../flags/doctor.ts';
import { report } from './report.ts';

/** `kiam doctor pod`: what an SDK in this pod meets. */
export async function runDoctorPod(flags: DoctorPodFlags & { readonly json: boolean }): Promise<void> {
  const endpoint = flags.metadataEndpoint;
  return report([{ name: 'pod', look: (signal) => checkPod({ endpoint, clock: systemClock, signal }) }], flags);
}
