import type { Explanation } from '#server/explain/explanation.ts';

import type { OverviewAnswer, PodsAnswer } from '../wire.ts';

/** Rejects with an Error whose message is shown to the reader. */
async function ask<Answer>(
  path: string,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Answer> {
  const response = await fetch(`${path}?${new URLSearchParams(query).toString()}`, { signal, cache: 'no-store' });
  if (response.headers.get('content-type')?.startsWith('application/json') !== true) {
    throw new Error((await response.text()).trim() || `status ${response.status}`);
  }
  return response.json();
}

export function askOverview(since: string, signal: AbortSignal): Promise<OverviewAnswer> {
  return ask('/api/overview', { since }, signal);
}

export function askPods(
  query: { readonly search?: string; readonly node?: string; readonly role?: string },
  signal: AbortSignal,
): Promise<PodsAnswer> {
  return ask('/api/pods', { ...query }, signal);
}

export function askExplanation(pod: string, signal: AbortSignal): Promise<Explanation> {
  const [namespace = '', name = ''] = pod.split('/');
  return ask('/api/explain', { namespace, name }, signal);
}
