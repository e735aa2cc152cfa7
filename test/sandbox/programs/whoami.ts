import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';

// A program as it might run in any pod: the AWS SDK with nothing configured. It prints who STS says it is.
try {
  const { Arn } = await new STSClient({}).send(new GetCallerIdentityCommand({}));
  console.log(Arn);
} catch (error) {
  console.log(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
  process.exitCode = 1;
}
