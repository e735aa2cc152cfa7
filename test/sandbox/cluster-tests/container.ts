import { type Json, listAt, textAt } from '../json.ts';
import type { SandboxPod } from '../kubernetes-api/kubelet.ts';
import type { MountedVolume } from './volumes.ts';

/** What stands in place of an image: a program of this machine. */
export interface Image {
  /** Instead of the container's command. */
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** Where the containers of a pod run. */
export interface ContainerPlace {
  readonly pod: SandboxPod;
  /** Words that go before every command, up to the network and the names that the pod sees. */
  readonly exec: readonly string[];
  readonly volumes: readonly MountedVolume[];
  /** A kubeconfig of the pod's service account, unless the pod wants none. */
  readonly kubeconfig: string | undefined;
}

export interface Command {
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * A container's arguments with its variables put in (`$(NAME)`), and what this machine has elsewhere: paths of mounted volumes, and the token of
 * the pod's service account, which a server in a cluster reads at a path of its own and gets here as a kubeconfig.
 */
export function commandOf(container: Json, image: Image, place: ContainerPlace, args: readonly string[]): Command {
  const own = environmentOf(container, place.pod);
  const mapped = args
    .map((argument) => mapPaths(argument, container, place.volumes))
    .map((argument) => argument.replaceAll(/\$\((\w+)\)/g, (whole, name: string) => own[name] ?? whole));
  // What takes flags alone is kube2iam.
  const asksApi = mapped[0] === 'server' || mapped[0]?.startsWith('--') === true;
  const kubeconfig = asksApi && place.kubeconfig !== undefined ? [`--kubeconfig=${place.kubeconfig}`] : [];
  return {
    argv: [...place.exec, ...image.argv, ...mapped, ...kubeconfig],
    environment: { ...image.environment, ...own },
  };
}

/** The texts of a list; a manifest has nothing else among arguments. */
export function textsOf(list: readonly Json[]): string[] {
  return list.filter((entry) => typeof entry === 'string');
}

function mapPaths(argument: string, container: Json, volumes: readonly MountedVolume[]): string {
  return listAt(container, 'volumeMounts').reduce<string>((text, mount) => {
    const volume = volumes.find(({ name }) => name === textAt(mount, 'name'));
    return volume === undefined ? text : text.replaceAll(textAt(mount, 'mountPath'), volume.folder);
  }, argument);
}

function environmentOf(container: Json, pod: SandboxPod): Record<string, string> {
  const fields: Readonly<Record<string, string>> = {
    'status.podIP': pod.addresses[0] ?? '',
    'status.podIPs': pod.addresses.join(),
    'status.hostIP': pod.hostAddress,
    'spec.nodeName': pod.nodeName,
    'metadata.name': pod.name,
    'metadata.namespace': pod.namespace,
  };
  return Object.fromEntries(
    listAt(container, 'env').map((entry) => {
      const field = textAt(entry, 'valueFrom', 'fieldRef', 'fieldPath');
      return [textAt(entry, 'name'), field === '' ? textAt(entry, 'value') : (fields[field] ?? '')];
    }),
  );
}
