import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';

import { startChild } from '#sandbox/child.ts';

import { askHttp, type Cluster, FROM_SOURCES, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

describe('daemons whose environment names a proxy and asks gRPC for traces', () => {
  let cluster: Cluster;
  /** Counts who comes to the proxy, and closes each connection. */
  let visitors = 0;
  const proxy = createServer((socket) => {
    visitors += 1;
    socket.destroy();
  });
  let environment: Readonly<Record<string, string>>;

  before(async () => {
    const address = await new Promise<AddressInfo>((resolve) => {
      proxy.listen(0, '127.0.0.1', () => resolve(proxy.address() as AddressInfo));
    });
    environment = {
      // `ftp:` is what grpc-js complains of in a plain line at each connection.
      grpc_proxy: 'ftp://proxy.test',
      http_proxy: `http://127.0.0.1:${address.port}`,
      GRPC_VERBOSITY: 'DEBUG',
      GRPC_TRACE: 'all',
      NODE_PENDING_DEPRECATION: '1',
    };
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
  });

  after(async () => {
    await cluster.close();
    proxy.close();
  });

  for (const host of ['localhost', '127.0.0.1']) {
    it(`daemons whose environment names a proxy and asks gRPC for traces reach ${host} directly, and write JSON alone`, async () => {
      const pod = await cluster.world.pod({ namespace: 'team', name: `at-${host}`, role: 'reader' });
      const server = await cluster.startServer({ environment: { GRPC_VERBOSITY: 'DEBUG', GRPC_TRACE: 'all' } });
      for (const grpcProxy of ['', 'ftp://proxy.test']) {
        const agent = await cluster.startAgent(server.port, {
          flags: [`--server-address=${host}:${server.port}`, '--agent-token-file=/dev/null'],
          environment: { ...environment, grpc_proxy: grpcProxy },
        });
        await eventually('the pod has its role', 10_000, async () => {
          const answer = await askHttp({ port: agent.port, from: pod.address, path: LISTING });
          return answer.status === 200;
        });
        const health = startChild({
          name: 'health',
          argv: [
            ...FROM_SOURCES.agent,
            'health',
            '--json-log',
            `--server-address=${host}:${server.port}`,
            '--timeout=5s',
            '--gateway-timeout-creation=5s',
            ...cluster.tlsFlags('agent'),
          ],
          environment: { ...cluster.world.environment.clean, ...environment, grpc_proxy: grpcProxy },
        });
        const { code } = await health.exited;
        assert.equal(code, 0, health.lines.join('\n'));
        await agent.child.stop('SIGTERM');
        for (const line of [...agent.child.lines, ...health.lines]) assertJson(line);
      }
      await server.child.stop('SIGTERM');
      for (const line of server.child.lines) assertJson(line);
      assert.equal(visitors, 0);
    });
  }
});

/** A line of the log, and none that tells of a warning of Node, such as that of an IP address as a server's name in TLS. */
function assertJson(line: string): void {
  assert.doesNotThrow(() => JSON.parse(line), line);
  assert.notEqual(JSON.parse(line).msg, 'warning from Node.js', line);
}
