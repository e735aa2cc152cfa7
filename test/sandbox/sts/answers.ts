import { randomUUID } from 'node:crypto';
import { awsTimestamp, type Credentials } from '#domain/credentials.ts';
import type { CallerIdentity } from './identities.ts';

/** What STS refuses a call with. Codes and texts are those of the service's own answers. */
export interface StsError {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

export interface XmlAnswer {
  readonly status: number;
  readonly requestId: string;
  readonly body: string;
}

/** The namespace of version 2011-06-15 of the query API: https://docs.aws.amazon.com/STS/latest/APIReference/ */
const NAMESPACE = 'https://sts.amazonaws.com/doc/2011-06-15/';

export function errorAnswer(error: StsError): XmlAnswer {
  const requestId = randomUUID();
  const type = error.status >= 500 ? 'Receiver' : 'Sender';
  const body = `<ErrorResponse xmlns="${NAMESPACE}">
  <Error>
    <Type>${type}</Type>
    <Code>${escapeXml(error.code)}</Code>
    <Message>${escapeXml(error.message)}</Message>
  </Error>
  <RequestId>${requestId}</RequestId>
</ErrorResponse>
`;
  return { status: error.status, requestId, body };
}

export function callerIdentityAnswer(identity: CallerIdentity): XmlAnswer {
  return answer(
    'GetCallerIdentity',
    `    <Arn>${escapeXml(identity.arn)}</Arn>
    <UserId>${escapeXml(identity.userId)}</UserId>
    <Account>${escapeXml(identity.account)}</Account>
`,
  );
}

/** `packedPercent` is said where there is anything packed. */
export function assumeRoleAnswer(identity: CallerIdentity, credentials: Credentials, packedPercent = 0): XmlAnswer {
  const source = identity.sourceIdentity;
  return answer(
    'AssumeRole',
    `    <AssumedRoleUser>
      <AssumedRoleId>${escapeXml(identity.userId)}</AssumedRoleId>
      <Arn>${escapeXml(identity.arn)}</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>${credentials.accessKeyId}</AccessKeyId>
      <SecretAccessKey>${escapeXml(credentials.secretAccessKey)}</SecretAccessKey>
      <SessionToken>${escapeXml(credentials.sessionToken)}</SessionToken>
      <Expiration>${awsTimestamp(credentials.expiresAtMs)}</Expiration>
    </Credentials>
${source === '' ? '' : `    <SourceIdentity>${escapeXml(source)}</SourceIdentity>\n`}${packedPercent === 0 ? '' : `    <PackedPolicySize>${packedPercent}</PackedPolicySize>\n`}`,
  );
}

function answer(action: string, result: string): XmlAnswer {
  const requestId = randomUUID();
  const body = `<${action}Response xmlns="${NAMESPACE}">
  <${action}Result>
${result}  </${action}Result>
  <ResponseMetadata>
    <RequestId>${requestId}</RequestId>
  </ResponseMetadata>
</${action}Response>
`;
  return { status: 200, requestId, body };
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
