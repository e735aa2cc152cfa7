// What the agent is compared with: node:http alone or fastify alone, in plain JavaScript so that nothing else is loaded.
// Arguments: the kind, the path, the body. Says `listening <port>`.

const TYPE = { 'content-type': 'application/json' };

const [kind = '', path = '', body = ''] = process.argv.slice(2);

async function bareNode() {
  const { createServer } = await import('node:http');
  const headers = { ...TYPE, 'content-length': String(Buffer.byteLength(body)) };
  return createServer((_request, response) => {
    response.writeHead(200, headers);
    response.end(body);
  });
}

async function bareFastify() {
  const { fastify } = await import('fastify');
  const app = fastify();
  app.get(path, (_request, reply) => {
    void reply.headers(TYPE).send(body);
  });
  await app.ready();
  return app.server;
}

const server = kind === 'node' ? await bareNode() : await bareFastify();
server.listen(0, '127.0.0.1', () => process.stdout.write(`listening ${server.address().port}\n`));
