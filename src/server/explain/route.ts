import { sendText } from '#telemetry/http-listener.ts';
import type { ListenerRoute } from '#telemetry/http-listener.ts';

import type { Explanation } from './explanation.ts';
import { explanationJson, explanationText } from './render.ts';

export interface ExplainRouteOptions {
  /** Undefined while the server does not know the cluster yet. */
  readonly explain: (namespace: string, name: string) => Explanation | undefined;
  /** What a server that is starting waits for. */
  readonly waitingFor: () => readonly string[];
}

/** `/explain?namespace=N&name=P`, with `&form=json` for programs. 404 where there is no such pod, explained all the same. */
export function createExplainRoute({ explain, waitingFor }: ExplainRouteOptions): ListenerRoute {
  return (_request, response, url) => {
    const query = url.searchParams;
    const explanation = explain(query.get('namespace') ?? '', query.get('name') ?? '');
    if (explanation === undefined) {
      return sendText(response, 503, `the server is starting: it waits for ${waitingFor().join(', ')}\n`);
    }
    const isJson = query.get('form') === 'json';
    const text = isJson ? explanationJson(explanation) : explanationText(explanation);
    const type = isJson ? { 'Content-Type': 'application/json' } : {};
    return sendText(response, explanation.isFound ? 200 : 404, text, type);
  };
}
