import { readFileSync } from 'node:fs';

/**
 * `kiam doctor` in the container of a daemon looks with the daemon's own flags, which nobody should have to copy at night: those
 * of the container's first process. Whoever names a target, a kubeconfig or wants help means something else.
 */
export function withDaemonArguments(
  argv: readonly string[],
  readFirstProcess = readCommandLineOfInit,
): readonly string[] {
  const [command, ...rest] = argv;
  const saysWhat = rest.some(
    (word) => !word.startsWith('-') || /^--(?:kubeconfig|compare-kiam|compare-kube2iam|help|version)\b/.test(word),
  );
  if (command !== 'doctor' || saysWhat) return argv;
  return [command, ...daemonArguments(readFirstProcess()), ...rest];
}

/** `agent` or `server` and its flags, out of `node --flag /kiam agent …`; empty when the process is no daemon of ours. */
function daemonArguments(words: readonly string[]): readonly string[] {
  const program = words.findIndex((word, index) => index > 0 && !word.startsWith('-'));
  const command = words[program + 1];
  return program > 0 && (command === 'agent' || command === 'server') ? words.slice(program + 1) : [];
}

/** proc_pid_cmdline(5): arguments, each followed by a NUL byte. */
function readCommandLineOfInit(): readonly string[] {
  try {
    return readFileSync('/proc/1/cmdline', 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}
