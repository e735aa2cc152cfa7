import { createEvidenceReader } from '#agent/evidence/evidence.ts';
import { kernelFiles } from '#agent/evidence/kernel-files.ts';
import { systemClock } from '#runtime/clock.ts';

// Reads evidence in the network namespace where it runs, for a test elsewhere: an address in, evidence and its cost out.
const read = createEvidenceReader(kernelFiles, systemClock);
process.on('message', (address) => {
  const startedUs = performance.now() * 1000;
  const evidence = read(String(address));
  process.send?.({ evidence, tookUs: performance.now() * 1000 - startedUs });
});
