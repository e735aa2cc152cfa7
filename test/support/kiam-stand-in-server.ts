import { readFile } from 'node:fs/promises';

import {
  credentials,
  type GrpcObject,
  Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceError,
} from '@grpc/grpc-js';

import { loadKiamService } from '../conformance/kiam-wire.ts';

type Fields = Readonly<Record<string, string>>;
type Call = (request: Fields, metadata: Metadata, done: (error: ServiceError | null, reply?: Fields) => void) => void;

const INNER = '127.0.0.1:19610';

/** Our server listens where nobody else asks it, and Kiam's three calls are handed on to it. */
export async function startKiamsCalls(): Promise<void> {
  const [bind, certFile, keyFile, caFile] = ['bind', 'cert', 'key', 'ca'].map(valueOf);
  process.argv = process.argv.map((argument) => (argument.startsWith('--bind=') ? `--bind=${INNER}` : argument));
  const [cert, key, ca] = await Promise.all([certFile, keyFile, caFile].map((file = '') => readFile(file)));
  if (cert === undefined || key === undefined || ca === undefined) throw new Error('no certificates');
  const Kiam = loadKiamService();
  const inner = new Kiam(INNER, credentials.createSsl(ca, key, cert)) as unknown as GrpcObject & Record<string, Call>;
  const pass =
    (method: string) =>
    ({ request }: ServerUnaryCall<Fields, Fields>, reply: sendUnaryData<Fields>): void => {
      inner[method]?.(request, new Metadata(), (error, answer) => reply(error, answer));
    };
  const server = new Server();
  server.addService(Kiam.service, {
    GetPodRole: pass('GetPodRole'),
    GetPodCredentials: pass('GetPodCredentials'),
    GetHealth: pass('GetHealth'),
  });
  const secure = ServerCredentials.createSsl(ca, [{ private_key: key, cert_chain: cert }], true);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(bind ?? '', secure, (error) => (error === null ? resolve() : reject(error)));
  });
  process.once('SIGTERM', () => server.tryShutdown(() => {}));
}

function valueOf(flag: string): string {
  return process.argv.find((argument) => argument.startsWith(`--${flag}=`))?.slice(flag.length + 3) ?? '';
}
