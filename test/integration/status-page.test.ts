import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import type { Explanation } from '#server/explain/explanation.ts';
import type { OverviewAnswer, PodsAnswer } from '#page/wire.ts';

import {
  type Answer,
  askHttp,
  type Cluster,
  type Daemon,
  LISTING,
  type Question,
  startCluster,
} from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';

const ARN = 'arn:aws:iam::123456789012:role/';
const EXTERNAL_ID = 'an-external-id-that-nobody-is-told';

describe('the status page', () => {
  let cluster: Cluster;
  let server: Daemon;
  let port: number;
  /** All that was ever said, for the last test. */
  const said: string[] = [];

  const ask = async (path: string, question: Question = {}): Promise<Answer> => {
    const answer = await askHttp({ port, path, ...question });
    said.push(answer.body);
    return answer;
  };
  const read = async <Read>(path: string): Promise<Read> => {
    const { status, body } = await ask(path);
    assert.equal(status, 200, body);
    return JSON.parse(body) as Read;
  };

  before(async () => {
    cluster = await startCluster();
    const { world } = cluster;
    world.namespace('team', `${ARN}(reader|denied)`);
    world.sts.role(`${ARN}denied`, { deny: true });
    await world.pod({ namespace: 'team', name: 'app', role: 'reader', externalId: EXTERNAL_ID });
    await world.pod({ namespace: 'team', name: 'denied', role: 'denied' });
    port = await freePort();
    server = await cluster.startServer({ flags: [`--status-port=${port}`] });
    await server.child.line(/"msg":"status page: listening"/);
    const agent = await cluster.startAgent(server.port);
    await agent.child.line(/the server streams what the pods of this node may have/);
    await eventually('STS has answered', 20_000, async () => {
      const { tables } = await read<OverviewAnswer>('/api/overview');
      return tables.failing.rows.length === 1 && tables.identities.rows.some(([, { isServed }]) => isServed);
    });
    const served = await askHttp({
      port: agent.port,
      from: (await world.pod({ namespace: 'team', name: 'late', role: 'reader' })).address,
      path: `${LISTING}reader`,
    });
    assert.equal(served.status, 200);
    said.push('-- secrets --', served.body);
  });
  after(() => cluster.close());

  it('the status page shows nodes, identities, calls to STS, events and what fails', async () => {
    const { tables, sts, replica, pods } = await read<OverviewAnswer>('/api/overview');
    assert.deepEqual(replica.waitingFor, []);
    assert.ok(pods >= 2);
    const [[, node]] = tables.nodes.rows as [OverviewAnswer['tables']['nodes']['rows'][number]];
    assert.deepEqual([node.failing, node.streams, node.synced], [1, 1, true]);
    const reasons = tables.failing.rows.map(([pod, { reason }]) => `${pod}: ${reason}`);
    assert.match(reasons.join(), /^team\/denied: STS failed .*AccessDenied/);
    assert.ok(sts.some(({ calls }) => calls >= 2) && sts.some(({ failures }) => failures >= 1));
    const kinds = tables.events.rows.map(([, { kind }]) => kind);
    assert.ok(kinds.includes('node-came') && kinds.includes('sts-failed'), kinds.join());
  });

  it('the status page tells next what has changed, a revocation among it', async () => {
    const { cursor } = await read<OverviewAnswer>('/api/overview');
    cluster.world.namespace('team', `${ARN}denied`);
    try {
      await eventually('the revocation is told', 20_000, async () => {
        const { isWhole, tables } = await read<OverviewAnswer>(`/api/overview?since=${cursor}`);
        assert.equal(isWhole, false);
        const revoked = tables.events.rows.find(([, { kind }]) => kind === 'revoked');
        return revoked?.[1].subjects.includes('team/app') === true && tables.failing.rows.length >= 2;
      });
    } finally {
      cluster.world.namespace('team', `${ARN}(reader|denied)`);
    }
  });

  it('the status page finds pods by any part of their names, by node and by role, the worst first', async () => {
    await eventually('the revocation is over', 20_000, async () => {
      const { pods } = await read<PodsAnswer>('/api/pods?search=TEAM%2Fapp');
      return pods[0]?.state === 'fine';
    });
    const all = await read<PodsAnswer>('/api/pods?search=team');
    assert.deepEqual([all.found, all.pods[0]?.pod, all.pods[0]?.state], [3, 'team/denied', 'failing']);
    assert.equal((await read<PodsAnswer>(`/api/pods?role=${ARN}reader`)).found, 2);
    assert.equal((await read<PodsAnswer>('/api/pods?node=node-1')).found, 3);
    assert.equal((await read<PodsAnswer>('/api/pods?node=node-2')).found, 0);
  });

  it('the status page explains one pod', async () => {
    const { outcome, links } = await read<Explanation>('/api/explain?namespace=team&name=denied');
    assert.equal(outcome, 'gets nothing');
    assert.equal(links.find(({ verdict }) => verdict === 'no')?.link, 'credentials');
    assert.equal((await ask('/api/explain?namespace=team&name=nobody')).status, 404);
  });

  it('the status page runs no script, style or connection but its own, and is framed by nobody', async () => {
    for (const path of ['/', '/page.js', '/page.css', '/icon.svg', '/api/overview', '/api/pods', '/api/explain']) {
      const { status, headers, body } = await ask(path);
      assert.ok(status === 200 || status === 404, `${path}: ${status}`);
      const policy = String(headers['content-security-policy']);
      assert.match(
        policy,
        /^default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';/,
      );
      assert.match(policy, /frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'$/);
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
      assert.equal(headers['cache-control'], 'no-store');
      assert.equal(headers['access-control-allow-origin'], undefined);
      assert.doesNotMatch(body, /https?:\/\/(?!localhost|127\.0\.0\.1|www\.w3\.org\/)/, `${path} names another place`);
    }
  });

  it('the status page is read only, by GET and HEAD', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      for (const path of ['/', '/api/overview']) assert.equal((await ask(path, { method })).status, 405, method);
    }
    const { status, body } = await ask('/', { method: 'HEAD' });
    assert.deepEqual([status, body], [200, '']);
    for (const path of ['/status', '/metrics', '/explain', '/api', '/api/', '/..%2fetc', '/page.ts']) {
      assert.equal((await ask(path)).status, 404, path);
    }
  });

  it('the status page refuses names that are pointed at this machine, and what other sites ask', async () => {
    for (const path of ['/', '/api/overview', '/api/pods', '/api/explain?namespace=team&name=app']) {
      for (const host of ['evil.example', 'evil.example:9622', `127.0.0.1.nip.io:${port}`]) {
        const { status, body } = await ask(path, { headers: { host } });
        assert.equal(status, 403, `${path} for ${host}`);
        assert.doesNotMatch(body, /team|arn:/);
      }
    }
    for (const site of ['cross-site', 'same-site']) {
      assert.equal((await ask('/api/overview', { headers: { 'sec-fetch-site': site } })).status, 403);
    }
    assert.equal((await ask('/api/overview', { headers: { 'sec-fetch-site': 'same-origin' } })).status, 200);
  });

  it('the status page listens on 127.0.0.1 alone', async () => {
    await assert.rejects(askFrom('127.0.0.2', port));
  });

  it('a server whose status port is taken starts all the same, says so once, and shows its page once the port is free', async () => {
    const taken = await freePort();
    const other = await listenOn(taken);
    const second = await cluster.startServer({ flags: [`--status-port=${taken}`] });
    assert.ok(second.port > 0);
    const warnings = second.log().filter(({ msg }) => String(msg).startsWith('status page: cannot listen yet'));
    assert.equal(warnings.length, 1);
    await new Promise<void>((resolve) => void other.close(() => resolve()));
    await second.child.line(/"msg":"status page: listening"/);
    assert.equal((await askHttp({ port: taken, path: '/' })).status, 200);
    await second.child.stop('SIGTERM');
  });

  it('a server with --status-port=0 has no page', async () => {
    const third = await cluster.startServer({ flags: ['--status-port=0'] });
    assert.ok(!third.log().some(({ msg }) => String(msg).startsWith('status page')));
    await third.child.stop('SIGTERM');
  });

  it('the status page says what a server that starts is waiting for', async () => {
    const early = await freePort();
    const kubeconfig = join(cluster.world.folder, 'unreachable.kubeconfig');
    const text = await readFile(cluster.world.kubeconfigs.server, 'utf8');
    await writeFile(kubeconfig, text.replaceAll(/(https?:\/\/127\.0\.0\.1):\d+/g, `$1:${await freePort()}`));
    const waiting = await cluster.startServer({
      flags: [`--status-port=${early}`, `--kubeconfig=${kubeconfig}`],
      detached: true,
    });
    await waiting.child.line(/"msg":"status page: listening"/);
    const { status, body } = await askHttp({ port: early, path: '/api/overview' });
    assert.equal(status, 503);
    assert.match(body, /^the server is starting: it waits for .*the pods, namespaces and ServiceAccounts/);
    assert.equal((await askHttp({ port: early, path: '/' })).status, 200);
    await waiting.child.stop('SIGKILL');
  });

  it('the status page has no secret in it', () => {
    const at = said.indexOf('-- secrets --');
    const fields = JSON.parse(said[at + 1] ?? '{}') as Record<string, string>;
    const rest = said.toSpliced(at, 2).join('\n');
    assert.ok(rest.length > 10_000);
    for (const name of ['AccessKeyId', 'SecretAccessKey', 'Token']) {
      assert.ok((fields[name] ?? '').length > 10 && !rest.includes(fields[name] ?? ''), name);
    }
    assert.ok(!rest.includes(EXTERNAL_ID));
  });
});

function listenOn(port: number): Promise<Server> {
  const server = createServer((_, response) => response.end());
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

async function askFrom(host: string, port: number): Promise<unknown> {
  return fetch(`http://${host}:${port}/`, { signal: AbortSignal.timeout(2000) });
}
