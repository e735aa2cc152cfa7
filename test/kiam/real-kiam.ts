import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

import { type Child, startChild } from '#sandbox/child.ts';
import type { World } from '#sandbox/world.ts';

/** The path of Kiam's own program, or nothing. */
export const KIAM_PROGRAM = process.env['KIAM_PROGRAM'] ?? '';
export const withoutKiam =
  KIAM_PROGRAM === '' &&
  'NOT TESTED: KIAM_PROGRAM names no program of Kiam; `go install github.com/uswitch/kiam/cmd/kiam@master` makes one';

/** The flags of one of Kiam's daemons, and where its listener is said in its log. */
interface Start {
  readonly world: World;
  readonly port: number;
}

/** Kiam's server on a port of 127.0.0.1. It starts only with a role of its own. */
export async function startRealServer({ world, port }: Start, proxyPort: number): Promise<Child> {
  const { ca, serverCertificate, serverKey } = world.certificates;
  const child = startChild({
    name: 'kiam server',
    argv: [
      KIAM_PROGRAM,
      'server',
      '--json-log',
      '--level=debug',
      `--bind=127.0.0.1:${port}`,
      `--kubeconfig=${world.kubeconfigs.server}`,
      `--role-base-arn=${world.roleBaseArn}`,
      `--assume-role-arn=${world.roleBaseArn}kiam-server`,
      `--cert=${serverCertificate}`,
      `--key=${serverKey}`,
      `--ca=${ca}`,
    ],
    environment: { ...world.environment.server, HTTPS_PROXY: `http://127.0.0.1:${proxyPort}` },
  });
  await child.line(/started cache controller|will serve on/);
  return child;
}

/** Kiam's agent, which asks the server on `serverPort`. It reaches the metadata service at 169.254.169.254 and nowhere else. */
export async function startRealAgent(
  { world, port }: Start,
  serverPort: number,
  flags: readonly string[],
): Promise<Child> {
  const { ca, agentCertificate, agentKey } = world.certificates;
  const child = startChild({
    name: 'kiam agent',
    argv: [
      KIAM_PROGRAM,
      'agent',
      '--json-log',
      '--level=debug',
      `--port=${port}`,
      '--host=127.0.0.1',
      `--server-address=localhost:${serverPort}`,
      `--cert=${agentCertificate}`,
      `--key=${agentKey}`,
      `--ca=${ca}`,
      ...flags,
    ],
    environment: world.environment.clean,
  });
  await child.line(/listening/);
  return child;
}

/** Kiam knows STS by its real name alone: a proxy of HTTPS leads every connection to the sandbox's. */
export async function startStsProxy(sts: { readonly host: string; readonly port: number }): Promise<{
  readonly port: number;
  close(): void;
}> {
  const server = createServer();
  server.on('connect', (_request: IncomingMessage, client: Socket) => {
    const upstream = connect(sts.port, sts.host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(upstream).pipe(client);
    });
    upstream.on('error', () => client.destroy());
    client.on('error', () => upstream.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}
