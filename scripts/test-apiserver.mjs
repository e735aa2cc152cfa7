// Runs the tests before the API server of Kubernetes. Usage: npm run test:apiserver -- [--cases=N] [--seed=N] [test files]
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: { cases: { type: 'string' }, seed: { type: 'string' } },
  allowPositionals: true,
});
const files = positionals.length > 0 ? positionals : ['test/apiserver/**/*.test.ts'];
const environment = {
  ...process.env,
  ...(values.cases === undefined ? {} : { KIAM_ADMISSION_CASES: values.cases }),
  ...(values.seed === undefined ? {} : { KIAM_ADMISSION_SEED: values.seed }),
};
const flags = ['--test', '--test-concurrency=1', '--test-timeout=1800000'];
process.exitCode =
  spawnSync(process.execPath, [...flags, ...files], { stdio: 'inherit', env: environment }).status ?? 1;
