import type { FlagsOf } from './option.ts';
import type { EXPLAIN_OPTIONS } from './table.ts';

/** With a `kubeconfig` no server is asked. */
export type ExplainFlags = FlagsOf<typeof EXPLAIN_OPTIONS>;

/** What is wrong with several flags together. */
export function explainProblems({ kubeconfig }: ExplainFlags, given: ReadonlySet<string>): string[] {
  const problems: string[] = [];
  const ofApi = ['role-base-arn', 'session', 'disable-strict-namespace-regexp', 'binding'].filter((name) =>
    given.has(name),
  );
  if (kubeconfig === '') {
    problems.push(...ofApi.map((name) => `--${name} has no meaning without --kubeconfig: a server knows its own`));
  } else if (given.has('admin-socket')) {
    problems.push('--kubeconfig and --admin-socket contradict each other: with the first no server is asked');
  }
  return problems;
}
