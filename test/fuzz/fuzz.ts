import fc from 'fast-check';

import { PROPERTIES } from './properties.ts';
import { stsFound } from './sts-calls.ts';

// npm run fuzz -- [--inputs=10000000] [--seed=N] [--minutes=N] [--only=TEXT]: as many random inputs as asked for, over all
// properties or those whose names have the text, and for no longer than asked for. The seed that is printed repeats a run.
const option = (name: string, fallback: number): number =>
  Number(process.argv.find((word) => word.startsWith(`--${name}=`))?.split('=')[1] ?? fallback);
const inputs = option('inputs', 10_000_000);
const minutes = option('minutes', Number.POSITIVE_INFINITY);
const seed = option('seed', Date.now() & 0x7fffffff);
const only = process.argv.find((word) => word.startsWith('--only='))?.slice('--only='.length) ?? '';
const properties = PROPERTIES.filter(({ name }) => name.includes(only));
const shares = properties.reduce((sum, { share }) => sum + share, 0);
const limit = Number.isFinite(minutes) ? { interruptAfterTimeLimit: (minutes * 60_000) / properties.length } : {};
console.log(`${inputs} inputs, seed ${seed}`);
let done = 0;
let failures = 0;
for (const { name, property, share } of properties) {
  const startedMs = performance.now();
  const result = await fc.check(property, { numRuns: Math.ceil((inputs * share) / shares), seed, ...limit });
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  // To be out of time is no failure, but never to have run is one.
  const failed = result.counterexample !== null || result.numRuns === 0;
  done += result.numRuns;
  console.log(`${failed ? 'FAILED' : 'ok    '} ${name}: ${result.numRuns} inputs in ${seconds} s`);
  if (!failed) continue;
  failures += 1;
  console.log(`       ${JSON.stringify(result.counterexample)}\n       ${String(result.errorInstance).slice(0, 500)}`);
}
console.log(`${done} inputs in all, ${failures} properties failed`);
if (stsFound.pods > 0) {
  const { pods, calls, foreignBytes } = stsFound;
  console.log(`STS: ${pods} pods' annotations, ${calls} calls, ${foreignBytes} foreign bytes`);
}
process.exit(failures === 0 ? 0 : 1);
