// kube2iam's own program, which is the first argument, on a node of a sandbox's cluster: with a list of EC2's regions to ask for.
import { spawn } from 'node:child_process';

import { startRegions } from './real-kube2iam.ts';

const [program = '', ...args] = process.argv.slice(2);
const { port } = await startRegions();
const child = spawn(program, args, {
  stdio: 'inherit',
  env: {
    ...process.env,
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL_EC2: `http://127.0.0.1:${port}`,
    AWS_ENDPOINT_URL_STS: 'https://sts.amazonaws.com',
  },
});
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code) => process.exit(code ?? 1));
