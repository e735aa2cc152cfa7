import type { Export } from './export.ts';
import type { PodPlan } from './plan.ts';
import { comment } from './shell.ts';
import { functionsOf, INTERMEDIATE_FILE, trustFile } from './steps.ts';

const WAYS = { 'pod-identity': 'EKS Pod Identity', irsa: 'IAM roles for service accounts (IRSA)' };

/** A script for a POSIX shell with the AWS CLI, kubectl and jq. It makes its files in a folder of its own. */
export function exportScript(plan: Export): string {
  const { destination, undo, steps, notes } = plan;
  const way = WAYS[destination.to];
  return [
    '#!/bin/sh',
    comment(undo ? `Back from ${way} to Kiam` : `From Kiam to ${way}`),
    comment(`cluster ${destination.clusterName}, account ${destination.account}, ${destination.region}`),
    '#',
    ...notes.map(comment),
    '#',
    ...podLines(plan).map(comment),
    '',
    'set -eu',
    'export AWS_PAGER=',
    'folder=${KIAM_EXPORT_FOLDER:-kiam-export}',
    'mkdir -p "$folder/trust"',
    'cd "$folder"',
    '',
    ...(undo ? [] : fileLines(plan)),
    functionsOf(destination),
    ...steps.flatMap(({ title, commands }, index) => ['', comment(`${index + 1}. ${title}`), ...commands]),
    '',
  ].join('\n');
}

function podLines({ pods, undo }: Export): readonly string[] {
  const moving = pods.filter(({ outcome }) => outcome === 'moves');
  const staying = pods.filter(({ outcome }) => outcome !== 'moves');
  const byThemselves = moving.filter(({ pod }) => pod.owner === '');
  const noted = pods.filter(({ notes }) => notes.length > 0);
  const lines = [`${moving.length} of ${pods.length} pods with a role move${undo ? ' back' : ''}.`];
  const list = (title: string, members: readonly string[]): void => {
    if (members.length > 0) lines.push('', title, ...members);
  };
  list(
    'These have no Deployment, StatefulSet or DaemonSet that can be restarted: they move when they are made again.',
    byThemselves.map(({ pod }) => `  ${pod.namespace}/${pod.name}`),
  );
  list(
    'These change:',
    noted.flatMap(({ pod, notes }) => notes.map((note) => `  ${pod.namespace}/${pod.name}: ${note}`)),
  );
  list('These do not move, or not by a restart alone:', staying.flatMap(reasonLines));
  return lines;
}

function reasonLines({ pod, reasons }: PodPlan): readonly string[] {
  return reasons.flatMap(({ says, fix }) => [`  ${pod.namespace}/${pod.name}: ${says}`, `      fix: ${fix}`]);
}

function fileLines({ trusts, intermediatePolicy }: Export): readonly string[] {
  const files = trusts.map((role): [string, unknown] => [trustFile(role), role.statements]);
  if (intermediatePolicy !== undefined) files.push([INTERMEDIATE_FILE, intermediatePolicy]);
  return files.flatMap(([name, content]) => [
    `cat > ${name} <<'EOF'`,
    JSON.stringify(content, undefined, 2),
    'EOF',
    '',
  ]);
}

/** For programs; in ASCII, which it can be without loss. */
export function exportJson(plan: Export): string {
  const { destination, undo, pods, accounts, trusts, steps, notes, intermediatePolicy } = plan;
  const document = {
    ...destination,
    undo,
    pods: pods.map(({ pod: { namespace, name, owner, serviceAccount: present }, ...rest }) => ({
      namespace,
      name,
      owner,
      presentServiceAccount: present,
      ...rest,
    })),
    serviceAccounts: accounts,
    roles: trusts,
    intermediatePolicy: intermediatePolicy ?? null,
    steps,
    notes,
  };
  const text = JSON.stringify(document, undefined, 2);
  return `${text.replaceAll(/[^\n\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`;
}
