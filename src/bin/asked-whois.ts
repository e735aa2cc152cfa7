import { systemClock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/within.ts';
import type { WhoisAnswer } from '#server/whois/collect.ts';

import { askAdmin, findSockets } from './ask-admin.ts';
import type { WhoisFlags } from './whois.ts';

export interface WhoisAnswers {
  readonly answers: readonly WhoisAnswer[];
  readonly problems: readonly string[];
}

/**
 * Asks the servers that run here: all of this user's, or the one at `--admin-socket`; with `--admin-socket=` none. Never
 * rejects.
 */
export async function askServersHere({ accessKeyId, adminSocket, timeoutMs }: WhoisFlags): Promise<WhoisAnswers> {
  const sockets = adminSocket === undefined ? findSockets() : adminSocket === '' ? [] : [adminSocket];
  const deadline = startDeadline(systemClock, timeoutMs);
  const path = `/whois?${new URLSearchParams({ key: accessKeyId }).toString()}`;
  const asked = await Promise.all(sockets.map((socket) => askAdmin(socket, path, deadline.signal)));
  deadline.clear();
  const answers: WhoisAnswer[] = [];
  const problems: string[] = [];
  for (const [index, answer] of asked.entries()) {
    if (answer?.kind === 'failed') problems.push(answer.reason);
    else if (answer?.status === 200) answers.push(answerOf(answer.text));
    else if (answer?.status === 404) problems.push('this server is older than its part of kiam whois');
    else if (answer !== undefined) problems.push(answer.text.trim());
    else if (adminSocket !== undefined) problems.push(`no server answers at ${sockets[index]}`);
  }
  return { answers, problems };
}

/** Unchecked: the server runs the same program. */
function answerOf(text: string): WhoisAnswer {
  const answer: WhoisAnswer = JSON.parse(text);
  return answer;
}
