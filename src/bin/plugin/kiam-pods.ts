import type { Kubectl } from './kubectl.ts';
import type { PluginArguments } from './plugin-arguments.ts';

/** A running pod of Kiam. */
export interface KiamPod {
  /** `namespace/name`, and on which node it is; for people. */
  readonly text: string;
  readonly name: string;
  readonly role: 'server' | 'agent';
  /** What kubectl is told to reach it. */
  readonly target: readonly string[];
}

export interface PodsFound {
  /** By name. */
  readonly servers: readonly KiamPod[];
  /** Those of `--node`, where it is given. */
  readonly agents: readonly KiamPod[];
}

/** Kiam's pods in one cluster. */
export interface Fleet {
  readonly kubectl: Kubectl;
  /** Finds the pods that run now; a text says why there are none. */
  readonly find: () => Promise<PodsFound | string>;
}

const LIST_LIMIT_MS = 30_000;

/** Finds Kiam's running pods, sorted by namespace and name. A string says why there are none. */
export async function findPods(
  kubectl: Kubectl,
  { namespace, selector, node }: Pick<PluginArguments, 'namespace' | 'selector' | 'node'>,
): Promise<PodsFound | string> {
  const where = namespace === undefined ? '--all-namespaces' : `--namespace=${namespace}`;
  const args = ['get', 'pods', where, `--selector=${selector}`, '--output=json'];
  const { code, output, problem } = await kubectl(args, { signal: AbortSignal.timeout(LIST_LIMIT_MS) });
  if (code !== 0) return `Kiam's pods cannot be listed: ${problem}`;
  const list: PodList = JSON.parse(output);
  const pods = list.items.flatMap(readPod).toSorted((left, right) => (left.text < right.text ? -1 : 1));
  const servers = pods.filter(({ role }) => role === 'server');
  const agents = pods.filter((pod) => pod.role === 'agent' && (node === undefined || pod.node === node));
  if (servers.length + agents.length > 0) return { servers, agents };
  return `no pod of Kiam runs with the label ${selector} in ${namespace ?? 'any namespace'}; see --namespace and --selector`;
}

/** Unchecked: kubectl prints what the API server has validated. */
interface PodList {
  readonly items: readonly ListedPod[];
}

interface ListedPod {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly nodeName?: string; readonly containers: readonly { readonly name: string }[] };
  readonly status?: { readonly phase?: string };
}

function readPod({ metadata, spec, status }: ListedPod): (KiamPod & { readonly node: string })[] {
  const { namespace, name, labels = {}, annotations = {} } = metadata;
  // `role` in our manifests, `component` in the chart.
  const role = [labels['role'], labels['component']].find((label) => label === 'server' || label === 'agent');
  if (role === undefined || status?.phase !== 'Running') return [];
  const container = annotations['kubectl.kubernetes.io/default-container'] ?? spec.containers[0]?.name ?? '';
  const node = spec.nodeName ?? '';
  const target = [`--namespace=${namespace}`, name, `--container=${container}`];
  return [{ name, role, node, target, text: `${namespace}/${name} on ${node}` }];
}
