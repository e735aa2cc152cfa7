import type { FlagsOf } from './option.ts';
import type { EXPORT_OPTIONS } from './table.ts';

export type ExportFlags = FlagsOf<typeof EXPORT_OPTIONS>;

/** Problems of flags that do not go together, one line each. */
export function exportProblems(flags: ExportFlags, given: ReadonlySet<string>): string[] {
  const problems: string[] = [];
  if (flags.region === '') problems.push('--region must name the region of the cluster');
  if (flags.to === 'irsa' && flags.oidcIssuer === '') problems.push('--to=irsa needs --oidc-issuer');
  if (flags.to === 'irsa' && given.has('intermediate-role')) {
    problems.push('--intermediate-role has no meaning with --to=irsa: tokens are good for roles of every account');
  }
  if (flags.to === 'pod-identity' && given.has('oidc-issuer')) {
    problems.push('--oidc-issuer has no meaning with --to=pod-identity');
  }
  return problems;
}
