// One pod against all, with what one core can do: many connections, each with thousands of requests in one write, opened
// again as soon as they are closed. Arguments: port, path, source address. Runs until it is killed.
import { connect } from 'node:net';

const [port = '', path = '', from = ''] = process.argv.slice(2);

const CONNECTIONS = 32;
const REQUESTS_A_WRITE = 2000;
const WRITE = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n`.repeat(REQUESTS_A_WRITE), 'latin1');

function attack(): void {
  const socket = connect({ host: '127.0.0.1', port: Number(port), localAddress: from });
  const write = (): void => {
    while (!socket.destroyed && socket.write(WRITE));
  };
  socket.on('connect', write);
  socket.on('drain', write);
  socket.on('error', () => {});
  socket.on('close', () => setImmediate(attack));
  socket.resume();
}

for (let n = 0; n < CONNECTIONS; n += 1) attack();
console.log('attacking');
