import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { type Child, startChild } from '#sandbox/child.ts';
import type { World } from '#sandbox/world.ts';

/** The path of kube2iam's own program, or nothing. */
export const KUBE2IAM_PROGRAM = process.env['KUBE2IAM_PROGRAM'] ?? '';
export const withoutKube2iam =
  KUBE2IAM_PROGRAM === '' &&
  'NOT TESTED: KUBE2IAM_PROGRAM names no program of kube2iam; `go build -o kube2iam ./cmd` in a clone of jtblin/kube2iam makes one';

export interface RealKube2iam {
  readonly port: number;
  readonly child: Child;
  close(): Promise<void>;
}

/** kube2iam on a free port, for the pods of node-1. */
export async function startRealKube2iam(world: World, flags: readonly string[]): Promise<RealKube2iam> {
  const regions = await startRegions();
  const [port, metricsPort] = await Promise.all([freePort(), freePort()]);
  const child = startChild({
    name: 'kube2iam',
    argv: [
      KUBE2IAM_PROGRAM,
      `--app-port=${port}`,
      `--metrics-port=${metricsPort}`,
      '--node=node-1',
      `--kubeconfig=${world.kubeconfigs.server}`,
      `--metadata-addr=${new URL(world.metadata.url).host}`,
      ...flags,
    ],
    environment: {
      ...world.environment.server,
      AWS_EC2_METADATA_SERVICE_ENDPOINT: world.metadata.url,
      AWS_ENDPOINT_URL_EC2: `http://127.0.0.1:${regions.port}`,
    },
  });
  await child.line(/Listening on port/);
  return {
    port,
    child,
    close: async () => {
      await child.stop('SIGKILL');
      regions.close();
    },
  };
}

/** EC2's list of regions, which kube2iam asks for first. Ours is not in it, so that the endpoint of the environment counts. */
export async function startRegions(): Promise<{ readonly port: number; close(): void }> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/xml' });
    response.end(
      '<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId><regionInfo>' +
        '<item><regionName>nowhere-1</regionName><regionEndpoint>ec2.nowhere-1.amazonaws.com</regionEndpoint></item>' +
        '</regionInfo></DescribeRegionsResponse>',
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
