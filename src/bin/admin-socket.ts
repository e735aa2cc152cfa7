import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/**
 * Where servers listen for people on the same machine, unless they are told. A file in a folder of the user's own, because a
 * loopback address and an abstract socket are open to whoever shares the network: with hostNetwork every such pod of the node.
 * In memory, because the root file system may be read-only: containers have a writable /dev/shm all the same, which is the
 * pod's own (containerd, `internal/cri/server/container_create.go`; CRI-O, `server/container_create.go`).
 */
export function socketFolder(): string {
  return join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), `kiam-${userId()}`);
}

export function socketPath(processId: number): string {
  return join(socketFolder(), `${processId}.sock`);
}

/** The sockets of this user's servers, including those left behind by servers that were killed. */
export function socketsOfUser(): readonly string[] {
  const folder = socketFolder();
  if (!existsSync(folder)) return [];
  assertOwn(folder);
  return readdirSync(folder)
    .filter((name) => SOCKET.test(name))
    .map((name) => join(folder, name));
}

const SOCKET = /^(\d+)\.sock$/;

/** Prepares a path for a listener: removes what a killed server left there. Throws an Error that says why it cannot be used. */
export async function prepareSocket(path: string): Promise<void> {
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (folder === socketFolder()) {
    assertOwn(folder);
    for (const other of socketsOfUser()) if (!isRunning(other)) rmSync(other, { force: true });
  }
  if (!existsSync(path)) return;
  // A server that was killed leaves its socket behind; anything else is not ours to take away.
  if (!lstatSync(path).isSocket()) throw new Error('the path is in use by something that is not a socket');
  if (await isAnswered(path)) throw new Error('another process listens there');
  rmSync(path, { force: true });
}

/** In a folder that anybody may write to, the name alone proves nothing. */
function assertOwn(folder: string): void {
  const stats = lstatSync(folder);
  if (!stats.isDirectory() || stats.uid !== userId() || (stats.mode & 0o077) !== 0) {
    throw new Error(`${folder} is not this user's own folder`);
  }
}

function isRunning(path: string): boolean {
  const processId = Number(SOCKET.exec(path.slice(path.lastIndexOf('/') + 1))?.[1]);
  if (processId === process.pid) return false;
  try {
    process.kill(processId, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => resolve(!('code' in error && error.code === 'ECONNREFUSED')));
  });
}

function userId(): number {
  return process.getuid?.() ?? 0;
}
