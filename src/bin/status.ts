import { systemClock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/within.ts';
import { statusText } from '#server/status/render.ts';
import type { ServerStatus } from '#server/status/server-status.ts';

import { askAdmin, findSockets } from './ask-admin.ts';
import type { StatusFlags } from './flags/status.ts';

const WATCH_MS = 2000;
const CLEAR = '\u001b[H\u001b[2J';

/** Prints what the servers here hold in memory, once or every 2 seconds. Exits 1 when none answers. */
export async function runStatus({ flags }: { readonly flags: StatusFlags }): Promise<void> {
  do {
    const { replicas, problems } = await askAll(flags);
    const isTerminal = process.stdout.isTTY;
    const colours = isTerminal && (process.env['NO_COLOR'] ?? '') === '';
    const text = flags.json
      ? `${JSON.stringify({ replicas }, undefined, 2)}\n`
      : statusText(replicas, { colours, failingOnly: flags.failing });
    if (flags.watch && isTerminal) process.stdout.write(CLEAR);
    if (replicas.length > 0) process.stdout.write(text);
    for (const problem of problems) process.stderr.write(`kiam: ${problem}\n`);
    process.exitCode = replicas.length === 0 ? 1 : 0;
    if (flags.watch) await new Promise<void>((resolve) => void systemClock.after(WATCH_MS, resolve));
  } while (flags.watch);
}

async function askAll({
  adminSocket = '',
  namespace = '',
  timeoutMs,
}: StatusFlags): Promise<{ readonly replicas: readonly ServerStatus[]; readonly problems: readonly string[] }> {
  const sockets = adminSocket === '' ? findSockets() : [adminSocket];
  const deadline = startDeadline(systemClock, timeoutMs);
  const path = `/status?${new URLSearchParams({ namespace }).toString()}`;
  const answers = await Promise.all(sockets.map((socket) => askAdmin(socket, path, deadline.signal)));
  deadline.clear();
  const replicas: ServerStatus[] = [];
  const problems: string[] = [];
  for (const answer of answers) {
    if (answer?.kind === 'failed') problems.push(answer.reason);
    else if (answer?.status === 200) replicas.push(statusOf(answer.text));
    else if (answer?.status === 404) problems.push('this server is older than kiam status');
    else if (answer !== undefined) problems.push(answer.text.trim());
  }
  if (replicas.length === 0 && problems.length === 0) {
    problems.push(
      'no server answers here; ask one in its container (kubectl -n kube-system exec deploy/kiam-server -- /kiam status)',
    );
  }
  return { replicas, problems };
}

/** The server on the other side is of the same program. */
function statusOf(text: string): ServerStatus {
  const status: ServerStatus = JSON.parse(text);
  return status;
}
