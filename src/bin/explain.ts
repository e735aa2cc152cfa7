import { request } from 'node:http';

import { createConnection, type KubernetesConnection } from '#kubernetes/connection.ts';
import { readSurroundings } from '#kubernetes/pod-surroundings.ts';
import { systemClock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/deadline.ts';
import { collectFacts, type CollectOptions } from '#server/explain/collect.ts';
import { explain } from '#server/explain/explain.ts';
import { explanationJson, explanationText } from '#server/explain/render.ts';
import { decideWithoutServer, resolveWithoutServer } from '#server/explain/without-server.ts';
import { createLogger } from '#telemetry/logger.ts';

import { socketsOfUser } from './admin-socket.ts';
import type { ExplainFlags, ExplainSource } from './flags/explain.ts';

type Answer =
  | { readonly kind: 'explained'; readonly text: string; readonly isFound: boolean }
  | { readonly kind: 'failed'; readonly reason: string };

/** Prints the explanation of one pod. Exits 1 when none can be had, and when there is no such pod. */
export async function runExplain({ flags }: { readonly flags: ExplainFlags }): Promise<void> {
  const deadline = startDeadline(systemClock, flags.timeoutMs, new AbortController().signal);
  const { from } = flags;
  const answer =
    from.kind === 'server'
      ? await askServers(flags, from.socket, deadline.signal)
      : await readApi(flags, from, deadline.signal);
  deadline.clear();
  if (answer.kind === 'failed') process.stderr.write(`kiam: ${answer.reason}\n`);
  else process.stdout.write(answer.text);
  process.exitCode = answer.kind === 'explained' && answer.isFound ? 0 : 1;
}

async function askServers(flags: ExplainFlags, socket: string | undefined, signal: AbortSignal): Promise<Answer> {
  const sockets = socket === undefined ? findSockets() : [socket];
  const asked = await Promise.all(
    sockets.map(async (path) => ({ path, answer: await askServer(flags, path, signal) })),
  );
  const [first, second] = asked.filter(({ answer }) => answer.kind !== 'nobody');
  if (second !== undefined) {
    return { kind: 'failed', reason: `several servers run here: name one by --admin-socket=${sockets.join(' or ')}` };
  }
  if (first !== undefined && first.answer.kind !== 'nobody') return first.answer;
  return { kind: 'failed', reason: socket === undefined ? nobodyHere(flags) : `no server answers at ${socket}` };
}

/** None where there is no such folder, or where it is not this user's own. */
function findSockets(): readonly string[] {
  try {
    return socketsOfUser();
  } catch {
    return [];
  }
}

function nobodyHere({ namespace, name }: ExplainFlags): string {
  return [
    'no server of this user runs here; ask one in its container',
    `(kubectl -n kube-system exec ds/kiam-server -- /kiam explain ${namespace}/${name}),`,
    'or read the API alone with --kubeconfig',
  ].join(' ');
}

function askServer(
  { namespace, name, json }: ExplainFlags,
  socketPath: string,
  signal: AbortSignal,
): Promise<Answer | { readonly kind: 'nobody' }> {
  const query = new URLSearchParams({ namespace, name, form: json ? 'json' : 'text' });
  return new Promise((resolve) => {
    const fail = (error: Error & { code?: string }): void => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve({ kind: 'nobody' });
      else if (error.code === 'EACCES') resolve({ kind: 'failed', reason: `${socketPath} is another user's` });
      else resolve({ kind: 'failed', reason: signal.aborted ? 'the server does not answer' : error.message });
    };
    const outgoing = request({ socketPath, path: `/explain?${query.toString()}`, signal, agent: false });
    outgoing.on('error', fail);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', fail);
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        const { statusCode } = incoming;
        if (statusCode === 200 || statusCode === 404) resolve({ kind: 'explained', text, isFound: statusCode === 200 });
        else resolve({ kind: 'failed', reason: text.trim() });
      });
    });
    outgoing.end();
  });
}

type ApiSource = Extract<ExplainSource, { kind: 'api' }>;

async function readApi(flags: ExplainFlags, from: ApiSource, signal: AbortSignal): Promise<Answer> {
  const { namespace, name, json } = flags;
  const opened = openConnection(from.kubeconfig);
  if (typeof opened === 'string') return { kind: 'failed', reason: opened };
  const logger = createLogger({ json: false, level: 'error' });
  const read = await readSurroundings({ connection: opened, namespace, name, logger, signal });
  opened.close();
  if (!read.ok) return { kind: 'failed', reason: read.reason };
  const { pods, namespaces, knownAddresses } = read.value;
  const facts: CollectOptions = {
    source: `as ${opened.server} says; what STS answers and what agents hold, only a running server knows`,
    pods,
    knowsAddress: (address) => knownAddresses.has(address),
    asksByNode: true,
    namespaces,
    resolve: (role) => resolveWithoutServer(role, from),
    decide: (pod) => decideWithoutServer(pod, namespaces, from),
    sessionName: from.sessionName,
    running: undefined,
  };
  const explanation = explain(collectFacts(facts, namespace, name));
  const text = json ? explanationJson(explanation) : explanationText(explanation);
  return { kind: 'explained', text, isFound: explanation.isFound };
}

/** Why there is none, as a text, where the kubeconfig is of no use. */
function openConnection(kubeconfig: string): KubernetesConnection | string {
  try {
    return createConnection({ kubeconfig, clock: systemClock });
  } catch (error) {
    return `${kubeconfig}: ${error instanceof Error ? error.message : 'it cannot be read'}`;
  }
}
