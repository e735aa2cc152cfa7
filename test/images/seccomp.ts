import { readFileSync } from 'node:fs';

/** Comes with buildah; the profile that a container has unless something else is said. */
const PROFILE = '/usr/share/containers/seccomp.json';
/** Node's names of processors, with those of Go and of libseccomp. */
const ARCHITECTURES: Readonly<Record<string, { readonly go: string; readonly libseccomp: string }>> = {
  x64: { go: 'amd64', libseccomp: 'SCMP_ARCH_X86_64' },
  arm64: { go: 'arm64', libseccomp: 'SCMP_ARCH_AARCH64' },
};

interface Condition {
  readonly caps?: readonly string[];
  readonly arches?: readonly string[];
}
interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly args?: readonly object[] | null;
  readonly errnoRet?: number;
  readonly includes?: Condition;
  readonly excludes?: Condition;
}

/** The filter of system calls that `seccompProfile: RuntimeDefault` is, for a container with these capabilities. */
export function runtimeDefault(capabilities: readonly string[]): object {
  const profile = JSON.parse(readFileSync(PROFILE, 'utf8')) as {
    defaultAction: string;
    defaultErrnoRet: number;
    archMap: readonly { architecture: string; subArchitectures: readonly string[] }[];
    syscalls: readonly Rule[];
  };
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new Error(`no filter of system calls is known for ${process.arch}`);
  const holds = ({ includes = {}, excludes = {} }: Rule): boolean =>
    (includes.arches ?? [architecture.go]).includes(architecture.go) &&
    (includes.caps ?? []).every((name) => capabilities.includes(name)) &&
    !(excludes.caps ?? []).some((name) => capabilities.includes(name));
  return {
    defaultAction: profile.defaultAction,
    defaultErrnoRet: profile.defaultErrnoRet,
    architectures: profile.archMap
      .filter((one) => one.architecture === architecture.libseccomp)
      .flatMap((one) => [one.architecture, ...one.subArchitectures]),
    syscalls: profile.syscalls.filter(holds).map(({ names, action, args, errnoRet }) => ({
      names,
      action,
      args: args ?? [],
      ...(action === 'SCMP_ACT_ERRNO' ? { errnoRet: errnoRet ?? 1 } : {}),
    })),
  };
}
