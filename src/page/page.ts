import type { IncomingMessage, ServerResponse } from 'node:http';

import { type ListenerRoute, sendText } from '#telemetry/http-listener.ts';

import { type Asset, pageAssets } from './assets.ts';
import { isAskedByOtherSite, PAGE_HEADERS, refusalOf } from './door.ts';
import { findMatchingPods, type MatchingPodsOptions } from './find-pods.ts';
import { Overview, type OverviewOptions } from './overview.ts';

export interface PageOptions extends OverviewOptions {
  readonly explain: ListenerRoute;
  /** Undefined while the server does not know the cluster yet. */
  readonly podSource: () => Omit<MatchingPodsOptions, 'awaitTurn'> | undefined;
  /** What a server that is starting waits for. */
  readonly waitingFor: () => readonly string[];
}

export type Page = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void>;

/** What the page's requests are answered from; all of it only reads. */
export async function createPage(options: PageOptions): Promise<Page> {
  const assets = new Map(Object.entries(await pageAssets()));
  const overview = new Overview(options);
  return async (request, response, url) => {
    for (const [name, value] of Object.entries(PAGE_HEADERS)) response.setHeader(name, value);
    const refusal = refusalOf(request);
    const asset = assets.get(url.pathname);
    if (refusal !== undefined) return sendText(response, 403, `${refusal}\n`);
    if (asset !== undefined) return sendAsset(response, asset);
    if (isAskedByOtherSite(request)) return sendText(response, 403, 'another site may not ask\n');
    if (url.pathname === '/api/overview') {
      return sendJson(response, options, await overview.since(url.searchParams.get('since') ?? ''));
    }
    if (url.pathname === '/api/pods') return sendJson(response, options, await podsAnswer(options, url.searchParams));
    url.searchParams.set('form', 'json');
    return options.explain(request, response, url);
  };
}

async function podsAnswer({ podSource, awaitTurn }: PageOptions, query: URLSearchParams): Promise<string | undefined> {
  const source = podSource();
  if (source === undefined) return undefined;
  const [search, node, roleArn] = ['search', 'node', 'role'].map((name) => query.get(name) ?? '');
  return JSON.stringify(
    await findMatchingPods(
      { ...source, awaitTurn },
      { search: search ?? '', node: node ?? '', roleArn: roleArn ?? '' },
    ),
  );
}

function sendAsset(response: ServerResponse, { type, text }: Asset): void {
  sendText(response, 200, text, { 'Content-Type': type });
}

function sendJson(response: ServerResponse, { waitingFor }: PageOptions, json: string | undefined): void {
  if (json !== undefined) return sendText(response, 200, json, { 'Content-Type': 'application/json' });
  return sendText(response, 503, `the server is starting: it waits for ${waitingFor().join(', ')}\n`);
}
