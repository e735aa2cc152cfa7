import type { IncomingMessage, ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Clock } from '#runtime/clock.ts';
import type { Access, User } from './access.ts';
import { ApiError, badRequest, methodNotAllowed, noSuchPath, statusOf } from './api-error.ts';
import { bodyJson, bodyObject, deleteOptions } from './body.ts';
import type { Delivery } from './delivery.ts';
import { discover } from './discovery.ts';
import { type Faults, happen } from './faults.ts';
import { type Lists, pageJson, selectorOf } from './list.ts';
import type { Objects, Target } from './object-writer.ts';
import { parseRequest, type PathRequest, type ResourceRequest } from './request.ts';
import type { Resource } from './resources.ts';
import { review } from './reviews.ts';
import { pageTable } from './table.ts';
import type { TokenSigner } from './token-signer.ts';
import { type View, viewOf } from './view.ts';
import { Watch } from './watch.ts';

/** All that answering a request takes. */
export interface Handling {
  readonly clock: Clock;
  readonly access: Access;
  readonly objects: Objects;
  readonly lists: Lists;
  readonly faults: Faults;
  readonly watches: Set<Watch>;
  readonly deliveries: ReadonlyMap<Resource, Delivery>;
  readonly bookmarkIntervalMs: number;
  /** The documents by which the tokens of ServiceAccounts are verified. */
  readonly tokens: Pick<TokenSigner, 'document'>;
  /** `host:port` of this server. */
  readonly authority: string;
  expiredAs(): 'event' | 'status';
  /** Told about every request, before anything is decided about it. */
  count(request: ResourceRequest | PathRequest, user: User): void;
}

/** Answers one request; whatever goes wrong becomes a `Status`. */
export async function handle(handling: Handling, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    await answer(handling, request, response);
  } catch (error) {
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    const known =
      error instanceof ApiError
        ? error
        : new ApiError(500, 'InternalError', `Internal error occurred: ${String(error)}`);
    send(response, known.code, JSON.stringify(statusOf(known)));
  }
}

async function answer(handling: Handling, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { socket } = request;
  if (!(socket instanceof TLSSocket)) throw badRequest('Client sent an HTTP request to an HTTPS server.');
  const user = handling.access.authenticate(socket, request.headers.authorization);
  const parsed = parseRequest(request.method ?? '', request.url ?? '/');
  handling.count(parsed, user);
  const fault = handling.faults.take(parsed);
  if (fault !== undefined && happen(fault, response)) return;
  handling.access.authorize(user, parsed);
  if (parsed.kind === 'path') answerPath(handling, parsed, request, response);
  else if (parsed.verb === 'create' && parsed.resource === undefined) {
    const body = await bodyObject(request);
    send(response, 201, JSON.stringify(review(handling.access, user, parsed, body)));
  } else await answerResource(handling, parsed, request, response);
}

function answerPath(
  handling: Handling,
  request: PathRequest,
  message: IncomingMessage,
  response: ServerResponse,
): void {
  if (request.verb !== 'get' && request.verb !== 'head') throw methodNotAllowed();
  // Its keys have a type of their own (Kubernetes, `pkg/routes/openidmetadata.go`).
  if (request.path === '/openid/v1/jwks' && message.headers.accept === 'application/json')
    throw new ApiError(406, 'NotAcceptable', 'only application/jwk-set+json is available');
  const found = handling.tokens.document(request.path) ?? discover(request.path, handling.authority);
  if (found === undefined) throw noSuchPath();
  if (typeof found === 'string') send(response, 200, found, 'text/plain; charset=utf-8');
  else send(response, 200, JSON.stringify(found));
}

async function answerResource(
  handling: Handling,
  request: ResourceRequest,
  message: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { resource, subresource, verb, namespace, name, query } = request;
  if (resource === undefined || (subresource !== '' && subresource !== 'status')) throw noSuchPath();
  if (resource.namespaced && namespace === '' && verb !== 'list' && verb !== 'watch' && verb !== 'deletecollection')
    throw methodNotAllowed();
  const target: Target = { resource, namespace, name, subresource };
  const view = viewOf(handling.clock.now(), message, request, resource);
  const dryRun = query.getAll('dryRun').includes('All');
  const { objects } = handling;
  switch (verb) {
    case 'list': {
      const page = handling.lists.list(
        objects.collection(resource),
        objects.revisions.latest,
        namespaceOf(request),
        query,
      );
      send(response, 200, view.table ? pageTable(page, view.options) : pageJson(page));
      return;
    }
    case 'watch':
      openWatch(handling, request, resource, response, view);
      return;
    case 'get':
      send(response, 200, view.present(objects.get(target)));
      return;
    case 'create': {
      if (name !== '') throw methodNotAllowed();
      send(response, 201, view.present(objects.create(resource, namespace, await bodyObject(message), dryRun)));
      return;
    }
    case 'update':
      send(response, 200, view.present(objects.update(target, await bodyObject(message), dryRun)));
      return;
    case 'patch': {
      const mediaType = (message.headers['content-type'] ?? '').split(';', 1)[0]?.trim() ?? '';
      send(response, 200, view.present(objects.patch(target, mediaType, await bodyJson(message), dryRun)));
      return;
    }
    case 'delete':
    case 'deletecollection':
      await answerDelete(handling, target, request, message, response, dryRun);
  }
}

async function answerDelete(
  { objects }: Handling,
  target: Target,
  request: ResourceRequest,
  message: IncomingMessage,
  response: ServerResponse,
  dryRun: boolean,
): Promise<void> {
  const { resource } = target;
  const options = deleteOptions((await bodyJson(message)) ?? {}, request.query);
  if (request.verb === 'delete') {
    const gone = objects.delete(target, options, dryRun);
    send(response, 200, gone.json);
    return;
  }
  const selects = selectorOf(resource, namespaceOf(request), request.query);
  const found = objects
    .collection(resource)
    .sorted()
    .filter((version) => selects(version.object));
  for (const { object } of found) {
    objects.delete({ ...target, namespace: object.metadata.namespace, name: object.metadata.name }, options, dryRun);
  }
  send(
    response,
    200,
    pageJson({
      resource,
      revision: String(objects.revisions.latest),
      continueToken: '',
      remaining: undefined,
      versions: found,
    }),
  );
}

function openWatch(
  handling: Handling,
  request: ResourceRequest,
  resource: Resource,
  response: ServerResponse,
  view: View,
): void {
  const delivery = handling.deliveries.get(resource);
  if (delivery === undefined) throw noSuchPath();
  const watch = new Watch(
    {
      clock: handling.clock,
      collection: handling.objects.collection(resource),
      delivery,
      revisions: handling.objects.revisions,
      bookmarkIntervalMs: handling.bookmarkIntervalMs,
      expiredAs: handling.expiredAs(),
      present: view.present,
    },
    { ...request, namespace: namespaceOf(request) },
    response,
  );
  if (watch.closed) return;
  handling.watches.add(watch);
  response.on('close', () => handling.watches.delete(watch));
}

/** The namespace that a collection is narrowed to. A namespace's own path names the object, not the place. */
function namespaceOf({ resource, namespace }: ResourceRequest): string {
  return resource?.namespaced === true ? namespace : '';
}

function send(response: ServerResponse, status: number, body: string, contentType = 'application/json'): void {
  if (isClosed(response)) return;
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-cache, private',
  });
  response.end(body);
}

function isClosed(response: ServerResponse): boolean {
  return response.destroyed || response.headersSent;
}
