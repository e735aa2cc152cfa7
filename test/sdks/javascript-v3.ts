import { createInterface } from 'node:readline';

import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';

// A program as it might run in any pod: the AWS SDK for JavaScript v3 with nothing configured. It says who STS says it is,
// at the start and again for each line of its input, with credentials that it fetches again.
async function say(): Promise<void> {
  const startedMs = performance.now();
  const said = await new STSClient({}).send(new GetCallerIdentityCommand({})).then(
    ({ Arn }) => ({ arn: Arn }),
    (error: unknown) => ({ error: String(error) }),
  );
  console.log(JSON.stringify({ ...said, tookMs: performance.now() - startedMs }));
}

await say();
createInterface({ input: process.stdin }).on('line', () => void say());
