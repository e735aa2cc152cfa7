// npm run bench [-- --only p1,p2] [-- --quick] [-- --keep]: measures, prints a table and writes results.json beside this file;
// with --keep also docs/performance-results.json, which docs/performance.md quotes (npm run docs writes its table).
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { buildBundles } from './bundles.ts';
import { measureColdStart } from './cold-start.ts';
import { measureDenied } from './denied.ts';
import { measureNeighbours } from './neighbours.ts';
import { measureRate } from './p1-rate.ts';
import { measureLatency } from './p2-latency.ts';
import { measureNewPods } from './p3-new-pod.ts';
import { measureMemory } from './p4-memory.ts';
import { measurePods } from './p5-pods.ts';
import { measureCalls } from './p6-calls.ts';
import { measureDoors } from './p7-doors.ts';
import { measureTokens } from './p10-tokens.ts';
import { measureColdCallers } from './r4-cold-callers.ts';
import { measureRollout } from './r9-rollout.ts';
import { type Figure, printFigure } from './report.ts';
import type { Setting } from './setting.ts';

const FIGURES: Readonly<Record<string, (setting: Setting) => Promise<Figure>>> = {
  p1: measureRate,
  p2: measureLatency,
  p3: measureNewPods,
  p4: measureMemory,
  p5: measurePods,
  p6: measureCalls,
  p7: measureDoors,
  p10: measureTokens,
  r4: measureColdCallers,
  r9: measureRollout,
  neighbours: measureNeighbours,
  denied: measureDenied,
  cold: measureColdStart,
};

const OPTIONS = {
  only: { type: 'string' },
  quick: { type: 'boolean', default: false },
  keep: { type: 'boolean', default: false },
} as const;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS });
  const names = values.only === undefined ? Object.keys(FIGURES) : values.only.split(',');
  const unknown = names.filter((name) => FIGURES[name] === undefined);
  if (unknown.length > 0) {
    console.error(`no such figure: ${unknown.join(', ')}; there are ${Object.keys(FIGURES).join(', ')}`);
    process.exitCode = 1;
    return;
  }
  if (values.keep && (values.quick || values.only !== undefined)) {
    console.error('--keep is for a whole run: neither --quick nor --only');
    process.exitCode = 1;
    return;
  }
  const setting: Setting = { bundles: buildBundles(), quick: values.quick };
  const machine = `${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`;
  const loadBefore = loadavg()[0] ?? 0;
  console.log(
    `${machine}, load before ${loadBefore.toFixed(1)}: only ratios within one run carry over to other machines`,
  );
  const figures: Figure[] = [];
  for (const name of names) {
    const startedMs = performance.now();
    const figure = await FIGURES[name]?.(setting);
    if (figure === undefined) continue;
    printFigure(figure, performance.now() - startedMs);
    figures.push(figure);
  }
  const results = { at: new Date().toISOString(), machine, loadBefore, quick: values.quick, figures };
  for (const name of ['results.json', ...(values.keep ? ['../../docs/performance-results.json'] : [])]) {
    const file = fileURLToPath(new URL(name, import.meta.url));
    writeFileSync(file, `${JSON.stringify(results, null, 1)}\n`);
    console.log(`\nwritten to ${file}`);
  }
}

await main();
