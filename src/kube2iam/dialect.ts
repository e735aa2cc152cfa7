import { type Answer, createAnswer, errorAnswer, type Exchange, TEXT_TYPE } from '#agent/answer.ts';
import type { CredentialTexts, Dialect } from '#agent/dialect.ts';
import type { Client } from '#agent/ports.ts';
import { type Route, routeOf } from '#agent/route.ts';
import { kube2iamRoleArn } from '#domain/allowed-roles.ts';
import type { Failure } from '#domain/failure.ts';
import type { NodeId } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { PodView } from '#server/ports.ts';

export interface Kube2iamDialectOptions {
  readonly baseArn: string;
  /** `--host-ip`, which `/healthz` shows. */
  readonly hostIp: string;
  readonly pods: Pick<PodView, 'find'>;
  readonly node: NodeId | undefined;
  readonly permits: (pod: PodRecord) => boolean;
  /** What is answered to these paths beside kube2iam's others. */
  readonly own: ReadonlyMap<string, () => Answer | Promise<Answer>>;
}

const CREDENTIALS = /^\/[^/]+\/meta-data\/iam\/security-credentials\/(.+)$/s;
const HEALTH: Route = { name: 'health' };
const OWN: Route = { name: 'own' };

/** The `Server` header of the real service, which kube2iam sets on its own answers about roles. */
const SERVER = { server: 'EC2ws' };

/**
 * kube2iam's answers (jtblin/kube2iam, `server/server.go`): status, type and text. Roles are ARNs inside; pods ask for them and
 * are told of them by what follows the base ARN. A failure's text says what stands in the view of the node at that moment.
 */
export function createKube2iamDialect(options: Kube2iamDialectOptions): Dialect {
  const { baseArn, hostIp, pods, node, permits, own } = options;
  const podAt = ({ address }: Client): PodRecord | undefined => {
    const lookup = pods.find(address, { node });
    return lookup.kind === 'found' ? lookup.pod : undefined;
  };
  const notValid = (pod: PodRecord, { address }: Client): Answer =>
    refusal(
      404,
      `role requested ${pod.role} not valid for namespace of pod at ${address} with namespace ${pod.namespace}`,
    );

  /** Why a pod has no role that it could be told of or given. */
  const noMapping = (failure: Failure, client: Client): Answer => {
    switch (failure.kind) {
      case 'pod-not-found':
        return refusal(404, `pod with specificed IP "${client.address}" not found`);
      case 'multiple-pods':
        return refusal(404, severalPods(pods, node, client.address));
      case 'role-empty':
        return refusal(404, `unable to find role for IP ${client.address}`);
      case 'view-stale':
      case 'timed-out':
      case 'server-unavailable':
      case 'sts-throttled':
      case 'sts-unavailable':
        return refusal(503, failure.message);
      case 'forbidden':
      case 'sts-refused':
      case 'internal':
      default:
        return refusal(500, failure.message);
    }
  };

  return {
    routeOf: (path) => {
      if (path === '/healthz') return HEALTH;
      if (own.has(path)) return OWN;
      // A slash at the end belongs to the role. `/ping` and `/health` are the real service's here, which has none.
      const role = CREDENTIALS.exec(path)?.[1];
      if (role !== undefined) return { name: 'credentials', role };
      const route = routeOf(path);
      return route.name === 'ping' || route.name === 'health' ? { name: 'proxy' } : route;
    },
    askedRole: (role) => kube2iamRoleArn(role, baseArn),
    roleAnswer: ({ role }, client) => {
      if (role === '') return noMapping({ kind: 'role-empty', message: '' }, client);
      const pod = podAt(client);
      if (pod?.role === role && !permits(pod)) return notValid(pod, client);
      const isShort = baseArn !== '' && role.startsWith(baseArn);
      return textOf(isShort ? role.slice(baseArn.length) : role);
    },
    roleFailure: noMapping,
    credentialsAnswer: (texts) => textOf(`${JSON.stringify(inOrder(texts))}\n`),
    credentialsFailure: (failure, client, role) => {
      if (failure.kind !== 'forbidden') return noMapping(failure, client);
      const pod = podAt(client);
      return pod !== undefined && !permits(pod) ? notValid(pod, client) : refusal(403, `Invalid role ${role}`);
    },
    healthAnswer: ({ status, body }) => {
      if (status !== 200) return errorAnswer(500, `Error getting instance id ${String(body).trimEnd()}`);
      const health = { hostIP: hostIp, instanceId: String(body) };
      return createAnswer(200, { 'content-type': 'application/json' }, `${JSON.stringify(health)}\n`);
    },
    own: ({ path }: Exchange) => own.get(path)?.() ?? errorAnswer(404, 'not found'),
    logFields: ({ address, method, path, status, durationMs }) => ({
      'req.method': method,
      'req.path': path,
      'req.remote': address.slice(0, address.lastIndexOf(':')),
      'res.duration': durationMs,
      'res.status': status,
    }),
  };
}

/** Go sets no Content-Type on an empty answer. */
function textOf(body: string): Answer {
  return createAnswer(200, { ...(body === '' ? {} : { 'content-type': TEXT_TYPE }), ...SERVER }, body);
}

function refusal(status: number, message: string): Answer {
  const answer = errorAnswer(status, message, status === 404);
  return { ...answer, headers: { ...answer.headers, ...SERVER } };
}

/** The order in which Go writes the fields of kube2iam's credentials. */
function inOrder(texts: CredentialTexts): CredentialTexts {
  return Object.fromEntries(Object.entries(texts).toSorted(([left], [right]) => (left < right ? -1 : 1)));
}

function severalPods(pods: Pick<PodView, 'find'>, node: NodeId | undefined, address: string): string {
  const lookup = pods.find(address, { node });
  const names = lookup.kind === 'ambiguous' ? lookup.pods.map(({ name }) => name).toSorted() : [];
  return `${names.length} pods ([${names.join(' ')}]) with the ip ${address} indexed`;
}
