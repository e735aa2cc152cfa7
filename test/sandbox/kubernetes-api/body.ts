import type { IncomingMessage } from 'node:http';
import { readBody } from '../http-listener.ts';
import { at, isJsonObject, type Json, type JsonObject, parseJson, textAt } from '../json.ts';
import { ApiError, badRequest } from './api-error.ts';
import { decodeProtobuf } from './protobuf.ts';

/** The limit of the real server (`apiserver/pkg/server/config.go`: MaxRequestBodyBytes). */
const LARGEST_BODY_BYTES = 3 * 1024 * 1024;

/** Delete options out of body and query; the query goes first. */
export function deleteOptions(
  body: Json,
  query: URLSearchParams,
): { graceSeconds: number | undefined; uid: string; resourceVersion: string } {
  const inQuery = query.get('gracePeriodSeconds');
  const grace = inQuery === null ? at(body, 'gracePeriodSeconds') : Number(inQuery);
  return {
    graceSeconds: typeof grace === 'number' && Number.isFinite(grace) ? Math.max(0, grace) : undefined,
    uid: textAt(body, 'preconditions', 'uid'),
    resourceVersion: textAt(body, 'preconditions', 'resourceVersion'),
  };
}

/** The body as an object; throws 400, 413 or 415. */
export async function bodyObject(message: IncomingMessage): Promise<JsonObject> {
  const body = await bodyJson(message);
  if (!isJsonObject(body)) throw badRequest('the object provided is unrecognized: a JSON object is expected');
  return body;
}

/** The body as JSON, also when it came as protobuf; undefined for none. Throws 400, 413 or 415. */
export async function bodyJson(message: IncomingMessage): Promise<Json | undefined> {
  const bytes = await readBody(message, LARGEST_BODY_BYTES);
  if (bytes === undefined) {
    throw new ApiError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${LARGEST_BODY_BYTES}`);
  }
  if (bytes.length === 0) return undefined;
  const protobuf = (message.headers['content-type'] ?? '').startsWith('application/vnd.kubernetes.protobuf');
  const body = protobuf ? decodeProtobuf(bytes) : parseJson(bytes.toString('utf8'));
  if (body !== undefined) return body;
  if (protobuf) throw new ApiError(415, 'UnsupportedMediaType', 'the sandbox reads this object as JSON only');
  throw badRequest('the object provided is unrecognized (must be of type application/json): invalid JSON');
}
