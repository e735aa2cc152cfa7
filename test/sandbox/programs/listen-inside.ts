import { createServer } from 'node:net';

// Opens a listening socket in the network namespace that it is started in, and hands it to its parent. A socket stays in
// the namespace where it was made, whichever process holds it.
const [host = '', port = ''] = process.argv.slice(2);
const server = createServer();
server.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen({ host, port: Number(port), backlog: 4096 }, () => {
  process.send?.('listening', server, undefined, () => process.exit(0));
});
