import { field, isObject, listField, textField } from '#kubernetes/json-fields.ts';
import { parseAllDocuments } from 'yaml';

/** The parts of kube2iam's DaemonSet that are converted. */
export interface Kube2iamWorkload {
  readonly name: string;
  readonly namespace: string;
  readonly args: readonly string[];
  readonly environment: readonly unknown[];
  /** The template of its pods, and in it the container. */
  readonly template: unknown;
  readonly container: unknown;
}

/** kube2iam's DaemonSet among the objects of a file, or the values of its chart; undefined where there is neither. */
export function readWorkload(text: string): Kube2iamWorkload | undefined {
  const documents = parseAllDocuments(text).map((document): unknown => document.toJS());
  const objects = documents.flatMap((one) => (textField(one, 'kind') === 'List' ? listField(one, 'items') : [one]));
  for (const object of objects.filter((one) => textField(one, 'kind') === 'DaemonSet')) {
    const template = field(field(object, 'spec'), 'template');
    const containers = listField(field(template, 'spec'), 'containers');
    const container = containers.find((one) => /kube2iam/.test(textField(one, 'name') + textField(one, 'image')));
    if (container === undefined) continue;
    const metadata = field(object, 'metadata');
    return {
      name: textField(metadata, 'name'),
      namespace: textField(metadata, 'namespace') || 'default',
      args: [...listField(container, 'command'), ...listField(container, 'args')].map(scalar).filter(isFlag),
      environment: listField(container, 'env'),
      template,
      container,
    };
  }
  const values = documents.find((one) => isObject(one) && field(one, 'kind') === undefined);
  return values === undefined ? undefined : fromValues(values);
}

function isFlag(word: string): boolean {
  return word.startsWith('-');
}

/** What kube2iam's chart (`charts/kube2iam`) renders from its values and defaults. */
function fromValues(values: unknown): Kube2iamWorkload {
  const host = field(values, 'host');
  const port = field(host, 'port') ?? 8181;
  const aws = field(values, 'aws');
  const region = textField(aws, 'region');
  const secret = textField(values, 'existingSecret') || (textField(aws, 'secret_key') && 'kube2iam');
  const fromSecret = (name: string) => ({
    name,
    valueFrom: { secretKeyRef: { name: secret, key: name.toLowerCase() } },
  });
  return {
    name: 'kube2iam',
    namespace: 'kube-system',
    args: [
      `--host-interface=${scalar(field(host, 'interface') ?? 'docker0')}`,
      `--iptables=${scalar(field(host, 'iptables') ?? false)}`,
      ...entriesOf(field(values, 'extraArgs')).map(([name, value]) => `--${name}${value ? `=${scalar(value)}` : ''}`),
      ...(field(values, 'verbose') === true ? ['--verbose'] : []),
      `--app-port=${scalar(port)}`,
      `--metrics-port=${scalar(field(field(values, 'prometheus'), 'metricsPort') ?? port)}`,
    ],
    environment: [
      ...(secret === '' ? [] : ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'].map(fromSecret)),
      ...(region === '' ? [] : [{ name: 'AWS_DEFAULT_REGION', value: region }]),
      ...entriesOf(field(values, 'extraEnv')).map(([name, value]) => ({ name, value: scalar(value) })),
    ],
    template: {
      metadata: { annotations: field(values, 'podAnnotations'), labels: field(values, 'podLabels') },
      spec: values,
    },
    container: values,
  };
}

function entriesOf(value: unknown): [string, unknown][] {
  return isObject(value) ? Object.entries(value) : [];
}

/** A YAML string, number or boolean as a command-line argument. */
function scalar(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}
