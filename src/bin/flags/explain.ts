import { booleanOption, durationParser, optionalOption, type OptionValues, valueOption } from './option.ts';
import { ADMIN_SOCKET_OPTION, SERVER_OPTIONS } from './server-options.ts';
import { parseOptionalFile, parseRoleBaseArn } from './values.ts';

export interface ExplainFlags {
  readonly namespace: string;
  readonly name: string;
  readonly json: boolean;
  readonly timeoutMs: number;
  readonly from: ExplainSource;
}

export type ExplainSource =
  /** A running server; `socket` is undefined for the one that runs here. */
  | { readonly kind: 'server'; readonly socket: string | undefined }
  /** The API alone, with the servers' flags as far as they are known. */
  | {
      readonly kind: 'api';
      readonly kubeconfig: string;
      readonly baseArn: string | undefined;
      readonly sessionName: string;
      readonly strict: boolean;
    };

/** What is explained, as the command line names it. */
export const EXPLAIN_ARGUMENT = 'NAMESPACE/POD';

const API = 'Without a server';

export const EXPLAIN_OPTIONS = {
  json: booleanOption({ group: 'Output', describe: 'Print JSON', default: false }),
  timeout: valueOption({
    group: 'Server',
    describe: 'How long the whole answer may take',
    default: '5s',
    parse: durationParser('1ms', '24h'),
  }),
  'admin-socket': {
    ...ADMIN_SOCKET_OPTION,
    group: 'Server',
    describe: 'Unix socket of the server that is asked; one that runs here is found',
    defaultText: 'automatic',
  },
  kubeconfig: valueOption({
    group: API,
    describe: 'Read the API by this file, and ask no server',
    default: '',
    parse: parseOptionalFile,
  }),
  'role-base-arn': optionalOption({
    group: API,
    describe: "The servers' --role-base-arn; without it the ARN of a short name stays open",
    parse: parseRoleBaseArn,
  }),
  session: { ...SERVER_OPTIONS.session, group: API, describe: "The servers' --session" },
  'disable-strict-namespace-regexp': {
    ...SERVER_OPTIONS['disable-strict-namespace-regexp'],
    group: API,
    describe: "The servers' flag of this name",
  },
};

type ExplainValues = OptionValues<typeof EXPLAIN_OPTIONS>;

/** Names of namespaces and pods: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ */
const POD = /^([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\/([a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?)$/;

/** Undefined for what names no pod. */
function parsePodName(text: string): { readonly namespace: string; readonly name: string } | undefined {
  const [, namespace, name] = POD.exec(text) ?? [];
  return namespace === undefined || name === undefined ? undefined : { namespace, name };
}

export function explainFlags(values: ExplainValues, argument: string): ExplainFlags {
  return {
    ...(parsePodName(argument) ?? { namespace: '', name: '' }),
    json: values.json,
    timeoutMs: values.timeout,
    from:
      values.kubeconfig === ''
        ? { kind: 'server', socket: values['admin-socket'] === '' ? undefined : values['admin-socket'] }
        : {
            kind: 'api',
            kubeconfig: values.kubeconfig,
            baseArn: values['role-base-arn'],
            sessionName: values.session,
            strict: !values['disable-strict-namespace-regexp'],
          },
  };
}

export function explainProblems(values: ExplainValues, given: ReadonlySet<string>, argument: string): string[] {
  const problems: string[] = [];
  if (argument === '') problems.push(`${EXPLAIN_ARGUMENT} must be given`);
  else if (parsePodName(argument) === undefined) problems.push(`the argument is not of the form ${EXPLAIN_ARGUMENT}`);
  const ofApi = ['role-base-arn', 'session', 'disable-strict-namespace-regexp'].filter((name) => given.has(name));
  if (values.kubeconfig === '') {
    problems.push(...ofApi.map((name) => `--${name} has no meaning without --kubeconfig: a server knows its own`));
  } else if (given.has('admin-socket')) {
    problems.push('--kubeconfig and --admin-socket contradict each other: with the first no server is asked');
  }
  return problems;
}
