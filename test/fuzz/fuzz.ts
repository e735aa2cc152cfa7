import fc from 'fast-check';

import { PROPERTIES } from './properties.ts';

// npm run fuzz -- [--inputs=10000000] [--seed=N]: as many random inputs as asked for, over all properties. The seed that is
// printed repeats a run.
const option = (name: string, fallback: number): number =>
  Number(process.argv.find((word) => word.startsWith(`--${name}=`))?.split('=')[1] ?? fallback);
const inputs = option('inputs', 10_000_000);
const seed = option('seed', Date.now() & 0x7fffffff);
const shares = PROPERTIES.reduce((sum, { share }) => sum + share, 0);
console.log(`${inputs} inputs, seed ${seed}`);
let failures = 0;
for (const { name, property, share } of PROPERTIES) {
  const numRuns = Math.round((inputs * share) / shares);
  const startedMs = performance.now();
  const result = fc.check(property, { numRuns, seed });
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`${result.failed ? 'FAILED' : 'ok    '} ${name}: ${result.numRuns} inputs in ${seconds} s`);
  if (!result.failed) continue;
  failures += 1;
  console.log(`       ${JSON.stringify(result.counterexample)}\n       ${String(result.errorInstance).slice(0, 500)}`);
}
process.exitCode = failures === 0 ? 0 : 1;
