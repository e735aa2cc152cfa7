/** The arguments before the command: how to reach the cluster, and where Kiam's pods are. */
export interface PluginArguments {
  /** Handed to kubectl with each call. */
  readonly connection: readonly string[];
  /** Where Kiam's pods are; undefined to look in all namespaces. */
  readonly namespace: string | undefined;
  /** The labels of Kiam's pods. */
  readonly selector: string;
  /** The node whose agent is meant; undefined for all. */
  readonly node: string | undefined;
  /** The command of `kiam` and its arguments. */
  readonly command: readonly string[];
}

/** Flags of kubectl that say which cluster is meant, and as whom. */
const CONNECTION = ['--kubeconfig', '--context', '--cluster', '--user', '--as', '--as-group', '--request-timeout'];

const OWN: Readonly<Record<string, 'namespace' | 'selector' | 'node'>> = {
  '--namespace': 'namespace',
  '-n': 'namespace',
  '--selector': 'selector',
  '-l': 'selector',
  '--node': 'node',
};

/** The labels of our manifests and of the chart: `role` or `component` says which daemon a pod is. */
const DEFAULT_SELECTOR = 'app=kiam';

/** Reads the arguments before the command; those after it are the command's own. A string is a problem. */
export function readPluginArguments(argv: readonly string[]): PluginArguments | string {
  const connection: string[] = [];
  const own: { namespace?: string; selector?: string; node?: string } = {};
  let index = 0;
  for (; index < argv.length; index += 1) {
    const word = argv[index] ?? '';
    if (!word.startsWith('-') || word === '--help') break;
    const [name = '', given] = word.split(/=(.*)/s);
    const key = OWN[name];
    if (key === undefined && !CONNECTION.includes(name)) {
      return `unknown flag ${name}: before the command there are ${[...CONNECTION, ...Object.keys(OWN)].join(', ')}`;
    }
    if (given === undefined) index += 1;
    const text = given ?? argv[index];
    if (text === undefined || text === '') return `${name} needs a value`;
    if (key === undefined) connection.push(`${name}=${text}`);
    else own[key] = text;
  }
  const { namespace, selector = DEFAULT_SELECTOR, node } = own;
  return { connection, namespace, selector, node, command: argv.slice(index) };
}

export const PLUGIN_HELP = `kubectl kiam [flags] COMMAND [flags of the command]

Runs the commands of kiam in the cluster, by kubectl and with your rights: pods are listed, and the commands are executed in them.

  status, explain       asked of every server at once, and told as one
  doctor [server]       in every server; doctor agent: on every node, or on --node; doctor cluster: in one server
  health                in every server
  export, policy        in one server
  whois                 reads the logs of every agent; with --log, files
  pki                   here, without a cluster

Flags before the command:
  -n, --namespace       where Kiam's pods are (default: looked for in all namespaces)
  -l, --selector        their labels (default: ${DEFAULT_SELECTOR})
  --node                only the agent of this node
  ${CONNECTION.join(', ')}
                        as for kubectl

kubectl kiam COMMAND --help shows the flags of a command. KUBECTL names another kubectl.`;
