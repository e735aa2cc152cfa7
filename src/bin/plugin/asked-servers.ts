import type { AuditLine } from '#domain/audit-line.ts';
import { explanationJson, explanationText } from '#server/explain/render.ts';
import type { Explanation } from '#server/explain/explanation.ts';
import type { ServerStatus } from '#server/status/server-status.ts';

import type { ExplainFlags } from '../flags/explain.ts';
import type { StatusFlags } from '../flags/status.ts';
import type { WhoisAnswers } from '../asked-whois.ts';
import type { StatusAnswers } from '../status-screen.ts';
import type { WhoisFlags } from '../whois.ts';
import { fail, runInPod } from './executed.ts';
import type { Fleet, KiamPod } from './kiam-pods.ts';

/** Time that kubectl and the API server may take in addition to the servers' own. */
const ON_TOP_MS = 10_000;

/** The status of every server, asked at once. */
export async function statusOfServers(
  { namespace = '', timeoutMs }: Pick<StatusFlags, 'namespace' | 'timeoutMs'>,
  fleet: Fleet,
): Promise<StatusAnswers> {
  const args = ['status', '--json', ...(namespace === '' ? [] : [`--namespace=${namespace}`])];
  const { answers, problems } = await askServers(fleet, args, { timeoutMs, parse: parseStatus });
  // With the host's network a replica knows no other name than its node's.
  const named = answers.flatMap(({ pod, answer }) =>
    answer.map((status) => ({ ...status, replica: { ...status.replica, name: pod.name } })),
  );
  return { replicas: named, problems };
}

/** Prints the explanation of the server that holds the stream of the pod's node, and says if another server disagrees. */
export async function printExplanation({ pod, json, timeoutMs }: ExplainFlags, fleet: Fleet): Promise<void> {
  const args = ['explain', `${pod.namespace}/${pod.name}`, '--json'];
  const { answers, problems } = await askServers(fleet, args, { timeoutMs, parse: parseExplanation });
  for (const problem of problems) fail(problem);
  const explanations = answers.map(({ answer }) => answer);
  const [best] = explanations.toSorted((left, right) => knowledgeOf(right) - knowledgeOf(left));
  if (best === undefined) return;
  process.stdout.write(json ? explanationJson(best) : explanationText(best));
  const other = explanations.find(({ outcome }) => contradict(outcome, best.outcome));
  if (other !== undefined) fail(`another server says that it ${other.outcome}: ${other.because}`);
  else if (!best.isFound) process.exitCode = 1;
}

/** A server without the node's stream knows less; that is no disagreement. */
function contradict(one: Explanation['outcome'], other: Explanation['outcome']): boolean {
  const both = [one, other];
  return both.includes('gets credentials') && both.includes('gets nothing');
}

function knowledgeOf({ isFound, links }: Explanation): number {
  const streams = links.find(({ link }) => link === 'agent')?.facts['streams'];
  return (isFound ? 1 : 0) + (typeof streams === 'number' && streams > 0 ? 1 : 0);
}

/**
 * What every server knows about an access key. Servers are asked only if no log names a pod, because asking them needs other
 * permissions.
 */
export async function whoisOfServers(
  { accessKeyId, timeoutMs }: Pick<WhoisFlags, 'accessKeyId' | 'timeoutMs'>,
  fleet: Fleet,
  isServed: boolean,
): Promise<WhoisAnswers> {
  if (isServed) return { answers: [], problems: [] };
  const args = ['whois', accessKeyId, '--json', '--log=/dev/null'];
  const { answers, problems } = await askServers(fleet, args, { timeoutMs, parse: parseHolders });
  return {
    problems,
    answers: answers.map(({ pod, answer: pods }) => ({
      server: pod.text,
      isKnown: true,
      roleArn: pods[0]?.roleArn ?? '',
      sessionName: pods[0]?.sessionName ?? '',
      pods,
    })),
  };
}

/** Throws if there is none, with what the server says about it. */
function parseHolders(text: string): readonly AuditLine[] {
  return text
    .trim()
    .split('\n')
    .map((line): AuditLine => JSON.parse(line));
}

interface Answer<T> {
  readonly pod: KiamPod;
  readonly answer: T;
}

/** The answers of the servers, and why some gave none. */
async function askServers<T>(
  { kubectl, find }: Fleet,
  args: readonly string[],
  { timeoutMs, parse }: { readonly timeoutMs: number; readonly parse: (text: string) => T },
): Promise<{ readonly answers: readonly Answer<T>[]; readonly problems: readonly string[] }> {
  const found = await find();
  if (typeof found === 'string') return { answers: [], problems: [found] };
  const { servers } = found;
  const problems: string[] = servers.length === 0 ? ['no server of Kiam runs'] : [];
  const timed = [...args, `--timeout=${Math.ceil(timeoutMs)}ms`];
  const ask = async (pod: KiamPod) => ({ pod, ...(await runInPod(kubectl, pod, timed, timeoutMs + ON_TOP_MS)) });
  const ran = await Promise.all(servers.map(ask));
  const answers: Answer<T>[] = [];
  for (const { pod, output, problem } of ran) {
    try {
      answers.push({ pod, answer: parse(output) });
    } catch {
      // What is no JSON is no answer.
      problems.push(`${pod.text}: ${problem}`);
    }
  }
  return { answers, problems };
}

/** Unchecked: the servers run the same program. */
function parseStatus(text: string): readonly ServerStatus[] {
  const { replicas }: { readonly replicas: readonly ServerStatus[] } = JSON.parse(text);
  return replicas;
}

function parseExplanation(text: string): Explanation {
  const explanation: Explanation = JSON.parse(text);
  return explanation;
}
