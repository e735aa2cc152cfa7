import { spawn } from 'node:child_process';
import { once } from 'node:events';

import { eventually } from './eventually.ts';

const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

/** Does something while another program holds a lock file; that program ends however it turns out. */
export async function whileLocked(lockFile: string, work: () => Promise<void>): Promise<void> {
  const holder = spawn('flock', [lockFile, 'cat'], { stdio: ['pipe', 'ignore', 'inherit'], env: environment });
  const exited = once(holder, 'exit');
  try {
    await eventually('the lock is held', 5000, () => isHeld(lockFile));
    await work();
  } finally {
    holder.stdin.end();
    await exited;
  }
}

async function isHeld(lockFile: string): Promise<boolean> {
  const [code] = await once(spawn('flock', ['-n', lockFile, 'true'], { stdio: 'ignore', env: environment }), 'exit');
  return code !== 0;
}
