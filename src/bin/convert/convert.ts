import { readFileSync } from 'node:fs';

import { type AllowedRolesFormat, permittedByList } from '#domain/allowed-roles.ts';
import { compileExpression } from '#domain/expression.ts';
import { type NamespaceRecord, PERMITTED_ANNOTATION } from '#domain/namespace.ts';
import { comment, quote } from '#export/shell.ts';
import { createConnection } from '#kubernetes/connection.ts';
import { field, listField, textField } from '#kubernetes/json-fields.ts';
import { listAll } from '#kubernetes/list.ts';
import { systemClock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import { parseAllDocuments, stringify } from 'yaml';

import type { FlagsOf } from '../flags/option.ts';
import type { CONVERT_OPTIONS } from '../flags/table.ts';
import { convertWorkload } from './values.ts';
import { readWorkload } from './workload.ts';

type ConvertFlags = FlagsOf<typeof CONVERT_OPTIONS>;

const LIMIT_MS = 60_000;

/**
 * `kiam convert kube2iam`: prints values of our chart, or commands for namespaces. Changes nothing; exits 1 where it cannot
 * read.
 */
export async function runConvert({ flags }: { readonly flags: ConvertFlags }): Promise<void> {
  try {
    process.stdout.write(flags.namespaces ? await convertNamespaces(flags) : convertDaemonSet(flags.file));
  } catch (error) {
    process.stderr.write(`kiam: ${describeError(error)}\n`);
    process.exitCode = 1;
  }
}

function convertDaemonSet(file: string): string {
  const workload = readWorkload(readFileSync(file, 'utf8'));
  if (workload === undefined) throw new Error(`${file} holds no DaemonSet of kube2iam and no values of its chart`);
  const { values, told } = convertWorkload(workload);
  const lines = [
    `Values for the chart deploy/helm/kiam, with the meaning of the DaemonSet ${workload.namespace}/${workload.name}:`,
    `helm upgrade --install kiam deploy/helm/kiam --namespace ${workload.namespace} --values THIS-FILE`,
    'What has no counterpart, and why:',
    ...told.map((line) => `- ${line}`),
  ];
  return `${lines.map(comment).join('\n')}\n${stringify(filled(values), { lineWidth: 0 })}`;
}

/** An empty value means the chart's default. */
function filled(values: object): unknown {
  const isEmpty = (value: unknown): boolean =>
    value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
  return JSON.parse(JSON.stringify(values, (_, value: unknown) => (isEmpty(value) ? undefined : value)));
}

async function convertNamespaces(flags: ConvertFlags): Promise<string> {
  const { namespaceKey, namespaceRestrictionFormat: format, roleBaseArn = '' } = flags;
  const parse = (value: unknown): NamespaceRecord => {
    const metadata = field(value, 'metadata');
    return { name: textField(metadata, 'name'), permitted: textField(field(metadata, 'annotations'), namespaceKey) };
  };
  const namespaces =
    flags.file === '' ? await listNamespaces(flags.kubeconfig, parse) : namespacesIn(flags.file, parse);
  const lines = namespaces.filter(({ permitted }) => permitted !== '');
  return lines.flatMap((namespace) => commandsFor(namespace, format, roleBaseArn)).join('');
}

function commandsFor(
  { name, permitted: list }: NamespaceRecord,
  format: AllowedRolesFormat,
  baseArn: string,
): string[] {
  const { expression, dropped } = permittedByList(list, format, baseArn);
  const told = dropped.map(
    (entry) => `${comment(`${name}: ${entry} is left out: it permits nothing, or holds \\Q`)}\n`,
  );
  if (expression === '') return [...told, `${comment(`${name}: the list permits nothing, as does no annotation`)}\n`];
  const compiled = compileExpression(expression, true);
  if (!compiled.ok) {
    const advice = `keep the list, with --namespace-policy=kube2iam: as an expression ${compiled.reason}`;
    return [...told, `${comment(`${name}: ${advice}`)}\n`];
  }
  const annotation = quote(`${PERMITTED_ANNOTATION}=${expression}`);
  return [...told, `kubectl annotate namespace ${quote(name)} --overwrite ${annotation}\n`];
}

type ParseNamespace = (value: unknown) => NamespaceRecord;

function namespacesIn(file: string, parse: ParseNamespace): NamespaceRecord[] {
  return parseAllDocuments(readFileSync(file, 'utf8'))
    .map((document): unknown => document.toJS())
    .flatMap((one) => (textField(one, 'kind') === 'Namespace' ? [one] : listField(one, 'items')))
    .map(parse);
}

async function listNamespaces(kubeconfig: string, parse: ParseNamespace): Promise<readonly NamespaceRecord[]> {
  const connection = createConnection({ kubeconfig, clock: systemClock, environment: process.env });
  const signal = AbortSignal.timeout(LIMIT_MS);
  const outcome = await listAll({ connection, path: '/api/v1/namespaces', parse, signal });
  connection.close();
  if (outcome.kind === 'listed') return outcome.records;
  throw new Error(outcome.kind === 'expired' ? 'the list expired' : `namespaces: ${outcome.failure.message}`);
}
