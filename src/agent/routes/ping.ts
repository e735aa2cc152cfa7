import { type RouteHandler, textAnswer } from '../answer.ts';

/** Whether the agent's process answers at all. */
export function createPingRoute(): RouteHandler {
  const pong = textAnswer('pong');
  return () => pong;
}
