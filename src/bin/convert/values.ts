import { field, textField } from '#kubernetes/json-fields.ts';

import { KUBE2IAM_OPTIONS } from '../flags/kube2iam.ts';
import { readFlags } from '../flags/read-flags.ts';
import { splitWords } from '../flags/words.ts';
import type { Kube2iamWorkload } from './workload.ts';

/** Values of our chart, and one line for each setting that they cannot express. */
export interface Converted {
  readonly values: object;
  readonly told: readonly string[];
}

const BY_SERVICE_ACCOUNT = 'servers ask the API server of their own cluster, with their ServiceAccount';
const NO_DEFAULT =
  'servers know no default role: annotate the ServiceAccounts of pods without one with iam.amazonaws.com/role';

/** Why a flag of kube2iam has no counterpart. */
const FLAGS_WITHOUT: Readonly<Record<string, string>> = {
  'default-role': NO_DEFAULT,
  'auto-discover-default-role': NO_DEFAULT,
  'iam-role-key': 'servers read iam.amazonaws.com/role: annotate pods with that',
  'iam-external-id': 'servers read iam.amazonaws.com/external-id: annotate pods with that',
  'namespace-key':
    'servers read iam.amazonaws.com/allowed-roles; see kiam convert kube2iam --namespaces --namespace-key',
  'iam-role-error-ttl': 'failures are remembered by what they mean',
  'cache-resync-period': 'the watch misses nothing',
  'backoff-max-interval': 'the watch wakes the request that waits',
  'resolve-duplicate-cache-ips': "the API server confirms each pod's address anyway",
  debug: 'there is no /debug/store; kiam explain and kiam status say more',
  kubeconfig: BY_SERVICE_ACCOUNT,
  'api-server': BY_SERVICE_ACCOUNT,
  'api-token': BY_SERVICE_ACCOUNT,
  insecure: BY_SERVICE_ACCOUNT,
};

/** Why a field of the pod or its container has no counterpart. */
const FIELDS_WITHOUT: Readonly<Record<string, string>> = {
  image: 'build and push kiam-agent and kiam-server; then agent.image.repository and server.image.repository name them',
  imagePullSecrets: 'imagePullSecrets takes the name of one',
  lifecycle: 'the redirect stays, and the guard with it, until kiam agent --uninstall takes both away',
  resources: 'agents and servers need other amounts: docs/performance.md',
  tolerations: 'agents tolerate everything: a node without one is a node whose role pods can reach',
  serviceAccountName:
    'its annotation eks.amazonaws.com/role-arn, if it has one, goes to serviceAccounts.server.annotations',
};

/** Fields for which the chart has a value of the same name. */
const POD_FIELDS = ['nodeSelector', 'affinity', 'priorityClassName'];

/** The values that mean the same as kube2iam's DaemonSet. */
export function convertWorkload({ args, environment, template, container }: Kube2iamWorkload): Converted {
  const told: string[] = [];
  const words = splitWords(
    args.map((word) => expanded(word, environment)),
    (name) => (isOption(name) ? KUBE2IAM_OPTIONS[name].isSwitch : undefined),
  );
  const { flags, given, problems } = readFlags(KUBE2IAM_OPTIONS, words, {});
  told.push(...problems, ...[...words.unknown].map((word) => `${word} is no flag of kube2iam`));
  for (const name of given) {
    const text = words.flags.get(name)?.text;
    const isDefault = isOption(name) && text === KUBE2IAM_OPTIONS[name].defaultText;
    const reason = FLAGS_WITHOUT[name];
    if (reason !== undefined && !isDefault) told.push(`--${name}=${text ?? ''}: ${reason}`);
  }
  if (!flags.namespaceRestrictions) {
    told.push(
      'without --namespace-restrictions every role is allowed everywhere; servers allow what a namespace says: ' +
        "kubectl annotate namespaces --all iam.amazonaws.com/permitted='.*', or better the roles that are meant",
    );
  }
  if (flags.baseRoleArn === '' && !flags.autoDiscoverBaseArn && !flags.autoDiscoverDefaultRole) {
    told.push('no --base-role-arn: servers read the prefix of short roles from the instance profile');
  }
  if (flags.allowRouteRegexp === '.*') {
    told.push('pods can read the user data of the node, as with kube2iam: narrow agent.allowRouteRegexp');
  }
  const podSpec = field(template, 'spec');
  for (const [name, reason] of Object.entries(FIELDS_WITHOUT)) {
    const value = field(container, name) ?? field(podSpec, name);
    if (!['null', '""', '[]', '{}'].includes(JSON.stringify(value ?? null))) told.push(`${name}: ${reason}`);
  }
  const hasOwnPort = flags.metricsPort !== undefined && flags.metricsPort !== flags.appPort;
  if (!hasOwnPort) told.push('metrics are not at --app-port: agents serve them at 9621, servers at 9620');
  told.push('kube2iam_* metrics: agents and servers have their own, docs/metrics.md');

  const { region, others } = splitEnvironment(environment);
  if (region === '') told.push('no AWS_REGION: servers ask sts.amazonaws.com, unless server.region names a region');
  const log = {
    jsonOutput: flags.logFormat === 'json',
    level: flags.verbose ? 'debug' : flags.logLevel,
  };
  const metadata =
    flags.metadataAddr === KUBE2IAM_OPTIONS['metadata-addr'].absent ? {} : { 'metadata-endpoint': flags.metadataAddr };
  const annotations = field(field(template, 'metadata'), 'annotations');
  return {
    told,
    values: {
      agent: {
        allowRouteRegexp: flags.allowRouteRegexp,
        log,
        host: {
          iptables: flags.iptables,
          port: flags.appPort,
          interface: words.flags.get('host-interface')?.text ?? KUBE2IAM_OPTIONS['host-interface'].defaultText,
        },
        prometheus: hasOwnPort ? { port: flags.metricsPort } : {},
        extraArgs: {
          ...metadata,
          ...(given.has('backoff-max-elapsed-time') ? { wait: `${flags.backoffMaxElapsedTimeMs}ms` } : {}),
        },
        podAnnotations: annotations,
        ...Object.fromEntries(POD_FIELDS.map((name) => [name, field(podSpec, name)])),
      },
      server: {
        roleBaseArn: flags.baseRoleArn,
        region,
        sessionDuration: `${(2 * flags.iamRoleSessionTtlMs) / 1000}s`,
        log,
        extraArgs: {
          ...metadata,
          'session-refresh': `${flags.iamRoleSessionTtlMs / 1000}s`,
          ...(flags.namespaceRestrictions
            ? { 'namespace-policy': 'kube2iam', 'namespace-restriction-format': flags.namespaceRestrictionFormat }
            : {}),
        },
        extraEnv: others,
      },
    },
  };
}

function isOption(name: string): name is keyof typeof KUBE2IAM_OPTIONS {
  return Object.hasOwn(KUBE2IAM_OPTIONS, name);
}

/** An argument with `$(NAME)` expanded as the kubelet does; a value that only the node knows becomes an example address. */
function expanded(word: string, environment: readonly unknown[]): string {
  return word.replaceAll(/\$\((\w+)\)/g, (_, name: string) => {
    const entry = environment.find((one) => textField(one, 'name') === name);
    return textField(entry, 'value') || '192.0.2.1';
  });
}

/** Variables that the daemon or its libraries read: credentials, proxies. */
function splitEnvironment(environment: readonly unknown[]): { region: string; others: readonly unknown[] } {
  const valueOf = (name: string): string =>
    textField(
      environment.find((one) => textField(one, 'name') === name),
      'value',
    );
  const isRegion = (one: unknown): boolean => /^AWS_(?:DEFAULT_)?REGION$/.test(textField(one, 'name'));
  const isOfNode = (one: unknown): boolean => field(field(one, 'valueFrom'), 'fieldRef') !== undefined;
  return {
    region: valueOf('AWS_REGION') || valueOf('AWS_DEFAULT_REGION'),
    others: environment.filter((one) => !isRegion(one) && !isOfNode(one)),
  };
}
