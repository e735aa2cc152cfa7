import { readFile } from 'node:fs/promises';

import {
  type Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';

import type { World } from '#sandbox/world.ts';

import { loadKiamService } from './kiam-wire.ts';
import { type RecordedCase, TRANSCRIPT } from './recorded.ts';

/** A stand-in of Kiam's own server that says what the recorded one must have said to its agent. */
export interface KiamServer {
  readonly port: number;
  /** How often each question was asked: `GetPodRole 127.0.1.1`, `GetPodCredentials 127.0.1.1 reader`. */
  readonly asked: ReadonlyMap<string, number>;
  close(): void;
}

type Fields = Readonly<Record<string, string>>;
type Reply = { readonly fields: Fields } | { readonly unknown: string } | 'no answer in time';

const LIST = '/latest/meta-data/iam/security-credentials/';

export async function startKiamServer({ certificates }: World): Promise<KiamServer> {
  const replies = recordedReplies();
  const asked = new Map<string, number>();
  const answer =
    (notFound: string, method: string) => (call: ServerUnaryCall<Fields, Fields>, reply: sendUnaryData<Fields>) => {
      const { ip = '', role } = call.request;
      const question = [method, ip, ...(role === undefined ? [] : [role])].join(' ');
      asked.set(question, (asked.get(question) ?? 0) + 1);
      const known = replies.get(question) ?? { unknown: notFound };
      if (known === 'no answer in time') return;
      if ('fields' in known) reply(null, known.fields);
      else reply({ code: status.UNKNOWN, details: known.unknown });
    };
  const handlers: UntypedServiceImplementation = {
    GetPodRole: answer('pod not found', 'GetPodRole'),
    GetPodCredentials: answer('no pod found', 'GetPodCredentials'),
    GetHealth: (_call: ServerUnaryCall<Fields, Fields>, reply: sendUnaryData<Fields>, _metadata?: Metadata) =>
      reply(null, { message: 'ok' }),
  };
  const server = new Server();
  server.addService(loadKiamService().service, handlers);
  const [ca, key, certificate] = await Promise.all(
    [certificates.ca, certificates.serverKey, certificates.serverCertificate].map((path) => readFile(path)),
  );
  if (ca === undefined || key === undefined || certificate === undefined) throw new Error('no certificates');
  const secure = ServerCredentials.createSsl(ca, [{ private_key: key, cert_chain: certificate }], true);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', secure, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  return { port, asked, close: () => server.forceShutdown() };
}

/** What Kiam's server said, read out of what its agent then told the pods. */
function recordedReplies(): Map<string, Reply> {
  const replies = new Map<string, Reply>();
  for (const recorded of TRANSCRIPT) {
    const { from, path } = recorded.request;
    const clean = decodeURIComponent(path.split('?')[0] ?? '');
    if (!clean.startsWith(LIST) || recorded.response.status === 301) continue;
    const role = clean.slice(LIST.length);
    const question = role === '' ? `GetPodRole ${from}` : `GetPodCredentials ${from} ${role}`;
    replies.set(question, role === '' ? roleReply(recorded) : credentialsReply(recorded));
  }
  return replies;
}

function roleReply({ response: { status: code, body } }: RecordedCase): Reply {
  if (code === 404) return { fields: { name: '' } };
  return code === 200 ? { fields: { name: body } } : errorReply(body);
}

function credentialsReply({ response: { status: code, body } }: RecordedCase): Reply {
  if (code !== 200) return errorReply(body);
  const { Code, Type, AccessKeyId, SecretAccessKey, Token, Expiration, LastUpdated } = JSON.parse(body) as Fields;
  // The recorded credentials have long ended: theirs are the same lengths, from now.
  const agoMs = Date.now() - Date.parse(LastUpdated ?? '');
  const fromNow = (time = ''): string => `${new Date(Date.parse(time) + agoMs).toISOString().slice(0, 19)}Z`;
  const fields = {
    code: Code ?? '',
    type: Type ?? '',
    access_key_id: AccessKeyId ?? '',
    secret_access_key: SecretAccessKey ?? '',
    token: Token ?? '',
    expiration: fromNow(Expiration),
    last_updated: fromNow(LastUpdated),
  };
  return { fields };
}

function errorReply(body: string): Reply {
  if (body.includes('DeadlineExceeded')) return 'no answer in time';
  return {
    unknown:
      /^(?:error fetching credentials: )?(?:rpc error: code = Unknown desc = )?([\s\S]+?)\n?$/.exec(body)?.[1] ?? body,
  };
}
