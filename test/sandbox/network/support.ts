import { runCommand } from './commands.ts';

/** Whether network namespaces can be built here, and if not, what is missing. */
export type NetworkSupport = { readonly ok: true } | { readonly ok: false; readonly reason: string };

export interface NetworkSupportOptions {
  /** `process.platform` of the caller. */
  readonly platform: string;
  /** The caller's effective user id; undefined where there is none. */
  readonly uid: number | undefined;
  /** The caller's process id, which makes the name of the trial namespace unique. */
  readonly pid: number;
}

/** Finds out by trying: rights and kernel features cannot be told from a user id alone (containers, seccomp). */
export async function networkSupport({ platform, uid, pid }: NetworkSupportOptions): Promise<NetworkSupport> {
  if (platform !== 'linux') return missing(`network namespaces need Linux, this is ${platform}`);
  if (uid !== 0) return missing('network namespaces need root');
  if (!(await runCommand(['ip', '-V'])).ok) return missing('the command ip is missing (package iproute2)');
  if (!(await runCommand(['iptables', '-V'])).ok) return missing('the command iptables is missing (package iptables)');
  return tryNamespace(`kiam-${pid}-trial`);
}

async function tryNamespace(name: string): Promise<NetworkSupport> {
  const created = await runCommand(['ip', 'netns', 'add', name]);
  if (!created.ok) return missing(`no network namespace can be made: ${created.reason}`);
  try {
    const linked = await runCommand([
      'ip',
      '-n',
      name,
      'link',
      'add',
      'veth0',
      'type',
      'veth',
      'peer',
      'name',
      'veth1',
    ]);
    if (!linked.ok) return missing(`no veth pair can be made: ${linked.reason}`);
    const listed = await runCommand(['ip', 'netns', 'exec', name, 'iptables', '-w', '5', '-t', 'nat', '-S']);
    return listed.ok ? { ok: true } : missing(`iptables does not work: ${listed.reason}`);
  } finally {
    await runCommand(['ip', 'netns', 'del', name]);
  }
}

function missing(reason: string): NetworkSupport {
  return { ok: false, reason };
}
