import type { FastifyInstance } from 'fastify';

import type { MetadataClient } from '#metadata/client.ts';
import type { ConnectionLimits } from '#runtime/connection-limits.ts';
import type { MetadataHandler } from '#telemetry/kiam-metrics.ts';

import { KIAM_DIALECT } from './dialect.ts';
import { createDispatch } from './dispatch.ts';
import { createDoor } from './door.ts';
import { DEFAULT_POD_LIMITS, type PodLimits } from './limits.ts';
import { createPodServer, type PodServerOptions } from './pod-server.ts';
import type { CredentialSource } from './ports.ts';
import type { RouteName } from './route.ts';
import type { RouteExpression } from './route-expression.ts';
import { connectionLimitsOf } from './sockets.ts';

export interface AgentAppOptions extends PodServerOptions {
  readonly source: CredentialSource;
  readonly metadata: Pick<MetadataClient, 'get'>;
  /** `--allow-route-regexp`, see {@link import('./route-expression.ts').compileRouteExpression}. */
  readonly allowedRoutes: RouteExpression;
  /** `--wait`: the longest wait for a pod that is not known yet, in milliseconds, whatever its client's patience. */
  readonly waitMs?: number;
  /** `--require-imdsv2` */
  readonly requireImdsv2?: boolean;
  readonly podLimits?: PodLimits;
  /** Else they follow from `podLimits`. */
  readonly socketLimits?: ConnectionLimits;
}

/** As long as Kiam's agent waits. */
const LONGEST_WAIT_MS = 5000;

/**
 * Kiam's labels for its routes. Paths that are refused without a request to the real service count under `proxy`, as in Kiam.
 */
const HANDLERS: Readonly<Record<RouteName, MetadataHandler | undefined>> = {
  'role-name': 'roleName',
  credentials: 'credentials',
  health: 'health',
  proxy: 'proxy',
  denied: 'proxy',
  token: undefined,
  'iam-info': undefined,
  ping: undefined,
  own: undefined,
};

/** The agent's metadata service for pods: see {@link createPodServer}. */
export function createAgentApp(options: AgentAppOptions): FastifyInstance {
  const { logger, allowedRoutes, waitMs = LONGEST_WAIT_MS, requireImdsv2 = false } = options;
  const podLimits = options.podLimits ?? DEFAULT_POD_LIMITS;
  const enter = createDoor(podLimits);
  const dispatch = createDispatch({ ...options, waitMs, requireImdsv2, dialect: options.dialect ?? KIAM_DIALECT });
  const app = createPodServer(options, {
    socketLimits: options.socketLimits ?? connectionLimitsOf(podLimits),
    handlerOf: (target) => (target.ok ? HANDLERS[target.route.name] : undefined),
    serve: (exchange, target, nowMs) => {
      const entry = enter(exchange, target, nowMs);
      if (entry.kind === 'refused') return entry;
      return { kind: 'served', usage: entry.usage, answer: dispatch(exchange, entry.route) };
    },
  });
  if (allowedRoutes.matches('/latest/user-data')) {
    logger.warn('allow-route-regexp lets pods read the user data of the node', { expression: allowedRoutes.text });
  }
  return app;
}
