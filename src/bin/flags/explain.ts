import type { FlagsOf } from './option.ts';
import { sessionProblems } from './sessions.ts';
import { type EXPLAIN_OPTIONS, SESSION_OPTIONS } from './table.ts';

/** With `kubeconfig` the API server is asked in place of a Kiam server. */
export type ExplainFlags = FlagsOf<typeof EXPLAIN_OPTIONS>;

const OF_API = [
  'role-base-arn',
  'session',
  'disable-strict-namespace-regexp',
  'namespace-policy',
  'namespace-restriction-format',
  'binding',
  ...Object.keys(SESSION_OPTIONS),
];

/** Problems of flags that do not go together, one line each. */
export function explainProblems(flags: ExplainFlags, given: ReadonlySet<string>): string[] {
  const { kubeconfig } = flags;
  const problems = sessionProblems(flags, given);
  const ofApi = OF_API.filter((name) => given.has(name));
  if (kubeconfig === '') {
    problems.push(...ofApi.map((name) => `--${name} has no meaning without --kubeconfig: a server knows its own`));
  } else if (given.has('admin-socket')) {
    problems.push('--kubeconfig and --admin-socket contradict each other: with the first no server is asked');
  }
  return problems;
}
