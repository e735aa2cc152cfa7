import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

// A program as it might run in any pod: the AWS SDK for JavaScript v2 with nothing configured, save the address of STS,
// which it does not read from the environment. It says who STS says it is, at the start and again for each line of its
// input, with credentials that it fetches again. Its argument is where the SDK is installed.
const [, , installed] = process.argv;
const AWS = createRequire(`${installed}/package.json`)('aws-sdk');
const endpoint = process.env.AWS_ENDPOINT_URL_STS;
const region = process.env.AWS_REGION;

async function say() {
  const startedMs = performance.now();
  const said = await new AWS.STS({ endpoint, region })
    .getCallerIdentity()
    .promise()
    .then(
      ({ Arn }) => ({ arn: Arn }),
      (error) => ({ error: `${error.code}: ${error.message}` }),
    );
  process.stdout.write(`${JSON.stringify({ ...said, tookMs: performance.now() - startedMs })}\n`);
}

await say();
createInterface({ input: process.stdin }).on('line', () => {
  if (AWS.config.credentials) AWS.config.credentials.expired = true;
  void say();
});
