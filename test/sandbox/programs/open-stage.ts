import { mkdtemp, rm } from 'node:fs/promises';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { removeNamespacesOfSync } from '#sandbox/network/namespaces.ts';
import { networkSupport } from '#sandbox/network/support.ts';
import { createLoopbackStage } from '#sandbox/stage/loopback-stage.ts';
import { createNamespaceStage } from '#sandbox/stage/namespace-stage.ts';
import type { Stage, StageOptions } from '#sandbox/stage/stage.ts';

export interface OpenStage {
  readonly stage: Stage;
  /** Why it is not made of network namespaces; undefined when it is. */
  readonly reason: string | undefined;
  close(): Promise<void>;
}

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/**
 * Opens the best stage that this machine allows. It leaves nothing behind however the process ends, SIGKILL excepted, and
 * what that leaves the next one sweeps away.
 */
export async function openStage(): Promise<OpenStage> {
  const support = await networkSupport({ platform: process.platform, uid: process.getuid?.(), pid: process.pid });
  const folder = await mkdtemp(join(tmpdir(), 'kiam-sandbox-'));
  const options: StageOptions = {
    programs: {
      node: [process.execPath],
      kiam: file('../../../src/bin/kiam.ts'),
      listenInside: file('listen-inside.ts'),
      fromAddress: file('from-address.ts'),
    },
    folder,
    path: process.env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    pid: process.pid,
  };
  const open: { stage?: Stage } = {};
  process.on('exit', () => {
    open.stage?.closeSync();
    if (support.ok) removeNamespacesOfSync(process.pid);
    rmSync(folder, { recursive: true, force: true });
  });
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.on(signal, () => {
      console.error(`\n${signal}: taking everything down`);
      process.exit(code);
    });
  }
  const stage = support.ok ? await createNamespaceStage(options) : await createLoopbackStage(options);
  open.stage = stage;
  return {
    stage,
    reason: support.ok ? undefined : support.reason,
    close: async () => {
      await stage.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
