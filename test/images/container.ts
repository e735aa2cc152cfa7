import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { type Child, startChild } from '#sandbox/child.ts';
import { runCommand } from '#sandbox/network/commands.ts';

import { runtimeDefault } from './seccomp.ts';

const EXEC_LIMIT_MS = 10_000;

/** What a container of a pod has unless its manifest says otherwise (containerd's default). */
const USUAL_CAPABILITIES =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'.split(
    ' ',
  );

/** The fields of a manifest that a kubelet turns into what the runtime is told. */
export interface PodSecurity {
  readonly runAsUser?: number;
  readonly runAsGroup?: number;
  readonly fsGroup?: number;
  readonly seccompProfile?: { readonly type: string };
}
export interface ContainerSecurity {
  readonly runAsUser?: number;
  readonly allowPrivilegeEscalation?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
}
export interface PodContainer {
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly securityContext?: ContainerSecurity;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
}

export interface ContainerOptions {
  readonly name: string;
  /** A folder that is there: the bundle is written below it, and the runtime keeps its state there. */
  readonly folder: string;
  readonly rootfs: string;
  readonly container: PodContainer;
  readonly pod?: PodSecurity;
  readonly environment: Readonly<Record<string, string>>;
  /** Paths of this machine by the names of volumes. */
  readonly volumes: Readonly<Record<string, string>>;
  /** Paths of this machine by where they are to be found in the container, read-only: what a kubelet puts there. */
  readonly files: Readonly<Record<string, string>>;
  /** The network namespace, by its name. */
  readonly network: string;
}

/** What the kernel says of a container's first process. */
export interface FirstProcess {
  /** The path of the file that it runs. */
  readonly program: string;
  readonly uid: number;
  /** The names of the capabilities that it has, and could ever get. */
  readonly effective: readonly string[];
  readonly bounding: readonly string[];
  readonly noNewPrivileges: boolean;
  readonly isFiltered: boolean;
}

export interface Container {
  /** The runtime in the foreground: signals that it gets go to the container's first process, whose exit is its own. */
  readonly child: Child;
  firstProcess(): Promise<FirstProcess>;
  /** Runs a command in the container, as an exec probe does, and returns what it said, also when it failed. */
  exec(...argv: readonly string[]): Promise<string>;
}

/** Runs a container as a manifest describes it, by the runtime (runc) that containerd uses. */
export function runContainer(options: ContainerOptions): Container {
  const { name, folder } = options;
  const bundle = join(folder, `bundle-${name}`);
  mkdirSync(bundle, { recursive: true });
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(runtimeConfig(options)));
  const runc = ['runc', '--root', join(folder, 'runc')] as const;
  return {
    child: startChild({
      name,
      argv: [...runc, 'run', '--bundle', bundle, name],
      environment: { PATH: process.env['PATH'] ?? '' },
    }),
    firstProcess: async () => {
      const state = await runCommand([...runc, 'state', name]);
      if (!state.ok) throw new Error(state.reason);
      return firstProcess((JSON.parse(state.output) as { pid: number }).pid);
    },
    exec: async (...argv) => {
      const [program, ...options] = runc;
      const limits = { timeout: EXEC_LIMIT_MS, env: { PATH: process.env['PATH'] ?? '' } };
      return new Promise((resolve) => {
        execFile(program, [...options, 'exec', name, ...argv], limits, (_error, stdout, stderr) => {
          resolve(`${stdout}${stderr}`);
        });
      });
    },
  };
}

/** https://github.com/opencontainers/runtime-spec/blob/main/config.md */
function runtimeConfig({
  rootfs,
  container,
  pod = {},
  environment,
  volumes,
  files,
  network,
  name,
}: ContainerOptions): object {
  const {
    runAsUser,
    capabilities = {},
    allowPrivilegeEscalation = true,
    readOnlyRootFilesystem = false,
  } = container.securityContext ?? {};
  const kept = capabilities.drop?.includes('ALL') === true ? [] : USUAL_CAPABILITIES;
  const names = [...new Set([...kept, ...(capabilities.add ?? [])])].map((one) => `CAP_${one}`);
  const uid = runAsUser ?? pod.runAsUser ?? 0;
  return {
    ociVersion: '1.0.2',
    hostname: name,
    process: {
      args: [...container.command, ...container.args],
      env: Object.entries({
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        ...environment,
      }).map(([key, value]) => `${key}=${value}`),
      cwd: '/',
      user: { uid, gid: pod.runAsGroup ?? 0, additionalGids: pod.fsGroup === undefined ? [] : [pod.fsGroup] },
      noNewPrivileges: !allowPrivilegeEscalation,
      // A process that is not root's has what is bounding only as far as a file gives it.
      capabilities: { bounding: names, permitted: uid === 0 ? names : [], effective: uid === 0 ? names : [] },
    },
    root: { path: rootfs, readonly: readOnlyRootFilesystem },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
      // Each pod has one, and it can be written to whatever the root file system.
      { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777'] },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
      ...container.volumeMounts.map((mount) =>
        bind(volumes[mount.name] ?? '', mount.mountPath, mount.readOnly === true),
      ),
      ...Object.entries(files).map(([inside, outside]) => bind(outside, inside, true)),
    ],
    linux: {
      namespaces: [
        ...['pid', 'mount', 'uts', 'ipc'].map((type) => ({ type })),
        { type: 'network', path: `/run/netns/${network}` },
      ],
      ...(pod.seccompProfile?.type === 'RuntimeDefault' ? { seccomp: runtimeDefault(names) } : {}),
    },
  };
}

function bind(source: string, destination: string, isReadOnly: boolean): object {
  return { destination, type: 'bind', source, options: ['rbind', isReadOnly ? 'ro' : 'rw'] };
}

/** Bits of Cap* in /proc/PID/status, by the kernel's numbers (linux/capability.h), for those that a test may meet. */
const NUMBERS: Readonly<Record<number, string>> = { 12: 'NET_ADMIN', 13: 'NET_RAW' };

function firstProcess(pid: number): FirstProcess {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (key: string): string => new RegExp(`^${key}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? '';
  const capabilities = (key: string): string[] =>
    Array.from(BigInt(`0x${field(key)}`).toString(2))
      .reverse()
      .flatMap((bit, number) => (bit === '1' ? [NUMBERS[number] ?? `capability ${number}`] : []));
  return {
    program: readlinkSync(`/proc/${pid}/exe`),
    uid: Number(field('Uid')),
    effective: capabilities('CapEff'),
    bounding: capabilities('CapBnd'),
    noNewPrivileges: field('NoNewPrivs') === '1',
    isFiltered: field('Seccomp') === '2',
  };
}
