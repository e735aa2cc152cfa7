import { GetCallerIdentityCommand } from '@aws-sdk/client-sts';

import { isOwnException, type RenewableClient } from './renewable-client.ts';
import type { StsFailure } from './sts.ts';
import { defect, readStsError, stsFailure, unavailable } from './sts-failure.ts';

export interface CallerIdentity {
  readonly ok: true;
  readonly arn: string;
  readonly account: string;
}

/** Asks STS whose credentials these are, which needs no permission. Never rejects. */
export async function callerIdentity(
  client: Pick<RenewableClient, 'use'>,
  signal: AbortSignal,
): Promise<CallerIdentity | StsFailure> {
  try {
    const { Arn: arn, Account: account } = await client.use((sts) =>
      sts.send(new GetCallerIdentityCommand({}), { abortSignal: signal }),
    );
    return arn && account ? { ok: true, arn, account } : unavailable('AWS STS answered without an identity');
  } catch (error) {
    const facts = readStsError(error);
    return isOwnException(error) && facts.status === undefined ? defect(error) : stsFailure(facts);
  }
}
