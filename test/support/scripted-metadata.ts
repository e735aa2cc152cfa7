import { createServer } from 'node:http';

import type { Answer } from '#agent/answer.ts';
import { listen } from '#sandbox/http-listener.ts';
import { METADATA_ADDRESS } from '#sandbox/network/addresses.ts';
import { runCommand } from '#sandbox/network/commands.ts';

import { insideNamespace } from './kernel-node.ts';

/** A metadata service in a pod's own network, which answers whatever a test says. */
export interface ScriptedMetadata {
  readonly requests: readonly string[];
  /** Resolves with the first request. */
  readonly firstRequest: Promise<void>;
  stop(): Promise<void>;
}

/** Everything that the pod sends to 169.254.169.254 ends here instead of at the agent. */
export async function startScriptedMetadata(
  pod: Parameters<typeof insideNamespace>[0],
  answerTo: (method: string, path: string) => Answer,
): Promise<ScriptedMetadata> {
  await runCommand([...pod.exec, 'ip', 'address', 'add', `${METADATA_ADDRESS}/32`, 'dev', 'lo']);
  const requests: string[] = [];
  const first = Promise.withResolvers<void>();
  const server = createServer(({ method = '', url = '' }, response) => {
    requests.push(`${method} ${url}`);
    first.resolve();
    const { status, headers, body } = answerTo(method, url);
    response.writeHead(status, headers).end(body);
  });
  const listener = await listen(server, { host: METADATA_ADDRESS, port: 80, open: insideNamespace(pod) });
  return { requests, firstRequest: first.promise, stop: () => listener.stop() };
}
