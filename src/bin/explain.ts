import { systemClock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/within.ts';
import { explanationJson, explanationText } from '#server/explain/render.ts';

import { askAdmin, findSockets } from './ask-admin.ts';
import type { ExplainFlags } from './flags/explain.ts';

type Answer =
  | { readonly kind: 'explained'; readonly text: string; readonly isFound: boolean }
  | { readonly kind: 'failed'; readonly reason: string };

/** Prints the explanation of one pod. Exits 1 when there is none, and when there is no such pod. */
export async function runExplain({ flags }: { readonly flags: ExplainFlags }): Promise<void> {
  const deadline = startDeadline(systemClock, flags.timeoutMs);
  const answer = await answerTo(flags, deadline.signal);
  deadline.clear();
  if (answer.kind === 'failed') process.stderr.write(`kiam: ${answer.reason}\n`);
  else process.stdout.write(answer.text);
  process.exitCode = answer.kind === 'explained' && answer.isFound ? 0 : 1;
}

async function answerTo(flags: ExplainFlags, signal: AbortSignal): Promise<Answer> {
  const { adminSocket = '', kubeconfig, json } = flags;
  if (kubeconfig === '') return askServers(flags, adminSocket === '' ? undefined : adminSocket, signal);
  // Whoever asks a server needs none of the client of the API.
  const { explainWithoutServer } = await import('./explain-without-server.ts');
  const explanation = await explainWithoutServer(flags, signal);
  if (typeof explanation === 'string') return { kind: 'failed', reason: explanation };
  const text = json ? explanationJson(explanation) : explanationText(explanation);
  return { kind: 'explained', text, isFound: explanation.isFound };
}

async function askServers(flags: ExplainFlags, socket: string | undefined, signal: AbortSignal): Promise<Answer> {
  const sockets = socket === undefined ? findSockets() : [socket];
  const answers = await Promise.all(sockets.map((path) => askServer(flags, path, signal)));
  const answered = sockets.filter((_, index) => answers[index] !== undefined);
  if (answered.length > 1) {
    return { kind: 'failed', reason: `several servers run here: name one by --admin-socket=${answered.join(' or ')}` };
  }
  const nobody = socket === undefined ? nobodyHere(flags) : `no server answers at ${socket}`;
  return answers.find((answer) => answer !== undefined) ?? { kind: 'failed', reason: nobody };
}

function nobodyHere({ pod: { namespace, name } }: ExplainFlags): string {
  return [
    'no server of this user runs here; ask one in its container',
    `(kubectl -n kube-system exec ds/kiam-server -- /kiam explain ${namespace}/${name}),`,
    'or read the API alone with --kubeconfig',
  ].join(' ');
}

/** Undefined when nobody listens. */
async function askServer(
  { pod: { namespace, name }, json }: ExplainFlags,
  socketPath: string,
  signal: AbortSignal,
): Promise<Answer | undefined> {
  const query = new URLSearchParams({ namespace, name, form: json ? 'json' : 'text' });
  const answer = await askAdmin(socketPath, `/explain?${query.toString()}`, signal);
  if (answer?.kind !== 'answered') return answer;
  const { status, text } = answer;
  if (status === 200 || status === 404) return { kind: 'explained', text, isFound: status === 200 };
  return { kind: 'failed', reason: text.trim() };
}
