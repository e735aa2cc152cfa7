import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, lstat, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { startChild } from '#sandbox/child.ts';

import { type Cluster, type Daemon, FROM_SOURCES, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

/** Who the server is in our manifests, and a neighbour in its pod. */
const SERVER_USER = 65_532;
const NEIGHBOUR = 65_533;

const canEnter = spawnSync('unshare', ['--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /dev/shm']).status === 0;
const skip = canEnter ? false : 'NOT TESTED: needs root, unshare, nsenter and setpriv';

/** A container as far as files go: nothing can be written but /dev/shm, which is its own, and there is no root. */
const container = (before = 'true'): readonly string[] => {
  const mounts = 'mount --make-rprivate / && mount -t tmpfs -o mode=1777 tmpfs /dev/shm && mount -o remount,bind,ro /';
  return [
    'unshare',
    '--mount',
    'sh',
    '-c',
    `${mounts} && ${before} && exec ${asUser(SERVER_USER).join(' ')} "$@"`,
    'sh',
  ];
};
const asUser = (user: number): readonly string[] => ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups'];

describe('the socket of kiam explain', () => {
  let cluster: Cluster;
  const explainAs = async (prefix: readonly string[], ...flags: readonly string[]): Promise<string> => {
    const child = startChild({
      name: 'explain',
      argv: [...prefix, ...FROM_SOURCES.server, 'explain', 'team/app', ...flags],
      environment: cluster.world.environment.clean,
    });
    await child.exited;
    return child.lines.join('\n');
  };
  const explain = (...flags: readonly string[]): Promise<string> => explainAs([], ...flags);
  const said = (daemon: Daemon, message: string): boolean => daemon.log().some(({ msg }) => msg === message);
  const path = (name: string): string => join(cluster.world.folder, name);

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
    await cluster.world.pod({ namespace: 'team', name: 'app', role: 'reader' });
  });

  after(() => cluster.close());

  it('the socket of kiam explain is made again after a server that was killed, and left to one that listens', async () => {
    const flags = [`--admin-socket=${path('admin.sock')}`];
    const first = await cluster.startServer({ flags });
    assert.equal((await lstat(path('admin.sock'))).mode & 0o777, 0o600);
    await first.child.stop('SIGKILL');
    assert.ok(existsSync(path('admin.sock')));
    const second = await cluster.startServer({ flags });
    const third = await cluster.startServer({ flags });
    assert.ok(said(third, 'admin: kiam explain cannot ask this server'));
    assert.match(await explain(...flags), new RegExp(`process ${second.child.process.pid}\\)`));
    await third.child.stop();
    assert.match(await explain(...flags), new RegExp(`process ${second.child.process.pid}\\)`));
    await second.child.stop();
    assert.ok(!existsSync(path('admin.sock')), 'a server that stops takes its socket away');
  });

  it('the socket of kiam explain takes nothing away that is no socket, and the server serves on', async () => {
    await writeFile(path('a-file'), 'precious');
    const server = await cluster.startServer({ flags: [`--admin-socket=${path('a-file')}`] });
    assert.ok(said(server, 'admin: kiam explain cannot ask this server'));
    assert.equal(await readFile(path('a-file'), 'utf8'), 'precious');
    await server.child.stop();
  });

  it('the socket of kiam explain answers while the server is starting, and says what it waits for', async () => {
    const server = await cluster.startServer({
      flags: [
        `--admin-socket=${path('early.sock')}`,
        '--role-base-arn-autodetect',
        '--metadata-endpoint=http://127.0.0.1:1',
      ],
      detached: true,
    });
    await server.child.line(/cannot detect the base ARN/);
    assert.match(
      await explain(`--admin-socket=${path('early.sock')}`),
      /^kiam: the server is starting: it waits for the base ARN of roles, /,
    );
    await server.child.stop();
  });

  it(
    'the socket of kiam explain leaves nothing of servers that were killed in the folder of the user',
    { skip: !existsSync('/dev/shm') },
    async () => {
      const folder = join('/dev/shm', `kiam-${process.getuid?.()}`);
      const first = await cluster.startServer();
      const socket = join(folder, `${first.child.process.pid}.sock`);
      assert.ok(existsSync(socket));
      await first.child.stop('SIGKILL');
      const second = await cluster.startServer();
      assert.deepEqual([socket, join(folder, `${second.child.process.pid}.sock`)].map(existsSync), [false, true]);
      await second.child.stop();
      assert.ok(!existsSync(join(folder, `${second.child.process.pid}.sock`)));
    },
  );

  describe('in a container', { skip }, () => {
    let contained: Cluster;
    let server: Daemon;
    const inside = (user: number): readonly string[] => [
      'nsenter',
      `--target=${server.child.process.pid}`,
      '--mount',
      ...asUser(user),
    ];

    before(async () => {
      contained = await startCluster({}, { ...FROM_SOURCES, server: [...container(), ...FROM_SOURCES.server] });
      const { world } = contained;
      world.namespace('team', '.*');
      await world.pod({ namespace: 'team', name: 'app', role: 'reader' });
      await readableBySomeoneElse(contained);
      server = await contained.startServer();
    });

    after(() => contained.close());

    it('the socket of kiam explain in a container is found by whoever execs into it, without a flag, whatever the root file system', async () => {
      // It has no agent, so nothing is fetched in advance.
      await eventually('it knows the pod', 10_000, async () =>
        (await explainAs(inside(SERVER_USER))).startsWith('team/app cannot be told: this replica holds none'),
      );
      const socket = server.log().find(({ msg }) => msg === 'admin: listening')?.['address'];
      assert.equal(socket, `/dev/shm/kiam-${SERVER_USER}/${server.child.process.pid}.sock`);
    });

    it('the socket of kiam explain in a container is closed to another user of the same pod', async () => {
      const socket = `/dev/shm/kiam-${SERVER_USER}/${server.child.process.pid}.sock`;
      assert.match(await explainAs(inside(NEIGHBOUR)), /^kiam: no server of this user runs here; /);
      assert.equal(await explainAs(inside(NEIGHBOUR), `--admin-socket=${socket}`), `kiam: ${socket} is another user's`);
    });

    it('the socket of kiam explain in a container cannot be found from another pod of the node, hostNetwork or not, as the same user', async () => {
      const socket = `/dev/shm/kiam-${SERVER_USER}/${server.child.process.pid}.sock`;
      assert.match(await explainAs(container()), /^kiam: no server of this user runs here; /);
      assert.equal(await explainAs(container(), `--admin-socket=${socket}`), `kiam: no server answers at ${socket}`);
    });
  });

  it(
    'the socket of kiam explain is not put into a folder that somebody else has made, and nobody there is believed',
    { skip },
    async () => {
      const squatted = `mkdir -m 777 /dev/shm/kiam-${SERVER_USER}`;
      const contained = await startCluster(
        {},
        { ...FROM_SOURCES, server: [...container(squatted), ...FROM_SOURCES.server] },
      );
      try {
        await readableBySomeoneElse(contained);
        const server = await contained.startServer();
        const warning = server.log().find(({ msg }) => msg === 'admin: kiam explain cannot ask this server');
        assert.match(String(warning?.['error']), /kiam-65532 is not this user's own folder$/);
        const inside = ['nsenter', `--target=${server.child.process.pid}`, '--mount', ...asUser(SERVER_USER)];
        assert.match(await explainAs(inside), /^kiam: no server of this user runs here; /);
      } finally {
        await contained.close();
      }
    },
  );
});

/** The files that a Secret would mount. */
async function readableBySomeoneElse({ world }: Cluster): Promise<void> {
  await chmod(world.folder, 0o755);
  const { ca, serverCertificate, serverKey } = world.certificates;
  for (const file of [ca, serverCertificate, serverKey, world.kubeconfigs.server]) await chmod(file, 0o644);
}
