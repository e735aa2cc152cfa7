import type { SessionRules } from '#domain/attribution.ts';
import type { FlagsOf } from './option.ts';
import type { SESSION_OPTIONS } from './table.ts';

export type SessionFlags = FlagsOf<typeof SESSION_OPTIONS>;

/** Problems of flags that do not go together, one line each. */
export function sessionProblems(flags: SessionFlags, given: ReadonlySet<string>): string[] {
  const problems: string[] = [];
  if (flags.sessionTags === 'off') {
    for (const name of ['allowed-session-tags', 'transitive-session-tags']) {
      if (given.has(name)) problems.push(`--${name} has no effect without --session-tags=workload or pod`);
    }
  }
  const templates = [flags.sessionName, flags.sourceIdentity];
  const namesCluster = templates.some((template) => template?.placeholders.includes('cluster') === true);
  if (namesCluster && flags.clusterName === '') problems.push('{cluster} needs --cluster-name');
  return problems;
}

export function sessionRules(flags: SessionFlags & { readonly session: string }): SessionRules {
  return {
    defaultName: flags.session,
    nameTemplate: flags.sessionName,
    sourceIdentity: flags.sourceIdentity,
    tags: flags.sessionTags,
    clusterName: flags.clusterName,
    clusterArn: flags.clusterArn,
    areTagsTransitive: flags.transitiveSessionTags,
  };
}
