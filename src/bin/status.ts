import { systemClock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/within.ts';
import type { ServerStatus } from '#server/status/server-status.ts';

import { askAdmin, findSockets } from './ask-admin.ts';
import type { StatusFlags } from './flags/status.ts';
import { processScreen, showStatus, type StatusAnswers } from './status-screen.ts';

/** Prints the status of the servers on this machine, once or every 2 seconds. Exits 1 if none answers. */
export async function runStatus({ flags }: { readonly flags: StatusFlags }): Promise<void> {
  const { signal } = new AbortController();
  const ask = (): Promise<StatusAnswers> => askSockets(flags);
  const isAnswered = await showStatus(flags, { ask, screen: processScreen(), clock: systemClock, signal });
  process.exitCode = isAnswered ? 0 : 1;
}

async function askSockets({ adminSocket = '', namespace = '', timeoutMs }: StatusFlags): Promise<StatusAnswers> {
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

/** Unchecked: the server runs the same program. */
function statusOf(text: string): ServerStatus {
  const status: ServerStatus = JSON.parse(text);
  return status;
}
