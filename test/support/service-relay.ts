import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** One port of 127.0.0.1 for several servers, as a Service of a cluster is one address for its pods. */
export interface ServiceRelay {
  readonly port: number;
  /** The servers' ports from now on. Connections that are open stay where they are. */
  use(ports: readonly number[]): void;
  close(): Promise<void>;
}

/** Each new connection goes to the next of the servers in turn; one that does not listen is passed over. */
export async function startServiceRelay(): Promise<ServiceRelay> {
  let targets: readonly number[] = [];
  let turn = 0;
  const open = new Set<Socket>();
  const keep = (socket: Socket): void => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => open.delete(socket));
  };
  const relay = (incoming: Socket, left: number): void => {
    const port = targets[turn % Math.max(1, targets.length)];
    turn += 1;
    if (port === undefined || left === 0) {
      incoming.destroy();
      return;
    }
    const outgoing = connect({ host: '127.0.0.1', port });
    keep(outgoing);
    const passOver = (): void => relay(incoming, left - 1);
    outgoing.once('error', passOver);
    outgoing.once('connect', () => {
      outgoing.off('error', passOver);
      outgoing.once('close', () => incoming.destroy());
      incoming.once('close', () => outgoing.destroy());
      incoming.pipe(outgoing).pipe(incoming);
    });
  };
  const server = createServer((incoming) => {
    keep(incoming);
    relay(incoming, targets.length);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    use: (ports) => {
      targets = ports;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
