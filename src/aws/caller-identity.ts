import { GetCallerIdentityCommand, type STSClient } from '@aws-sdk/client-sts';

import type { StsFailure } from './sts.ts';
import { readStsError, stsFailure, unavailable } from './sts-failure.ts';

export interface CallerIdentity {
  readonly ok: true;
  readonly arn: string;
  readonly account: string;
}

/** Asks STS whose credentials these are, which needs no permission. Never rejects. */
export async function callerIdentity(client: STSClient, signal: AbortSignal): Promise<CallerIdentity | StsFailure> {
  try {
    const { Arn: arn, Account: account } = await client.send(new GetCallerIdentityCommand({}), { abortSignal: signal });
    return arn && account ? { ok: true, arn, account } : unavailable('AWS STS answered without an identity');
  } catch (error) {
    return stsFailure(readStsError(error));
  }
}
