import type { JsonObject } from '../json.ts';
import type { Resource } from './resources.ts';

/** A refusal that ends a request with a `Status` object (Kubernetes, `apimachinery/pkg/api/errors`). */
export class ApiError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: JsonObject | undefined;

  constructor(code: number, reason: string, message: string, details?: JsonObject) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.reason = reason;
    this.details = details;
  }
}

/** The `Status` object that tells a client about an error. */
export function statusOf(error: ApiError): JsonObject {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: error.message,
    reason: error.reason,
    details: error.details,
    code: error.code,
  };
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, 'BadRequest', message);
}

export function notFound(resource: Resource, name: string): ApiError {
  return new ApiError(404, 'NotFound', `${qualified(resource)} "${name}" not found`, detailsOf(resource, name));
}

export function noSuchPath(): ApiError {
  return new ApiError(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function alreadyExists(resource: Resource, name: string): ApiError {
  return new ApiError(
    409,
    'AlreadyExists',
    `${qualified(resource)} "${name}" already exists`,
    detailsOf(resource, name),
  );
}

export function conflict(resource: Resource, name: string, cause?: string): ApiError {
  const text = cause ?? 'the object has been modified; please apply your changes to the latest version and try again';
  const message = `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${text}`;
  return new ApiError(409, 'Conflict', message, detailsOf(resource, name));
}

export function invalid(resource: Resource, name: string, field: string, problem: string): ApiError {
  return new ApiError(422, 'Invalid', `${resource.kind} "${name}" is invalid: ${field}: ${problem}`, {
    name,
    group: resource.group || undefined,
    kind: resource.kind,
    causes: [
      { reason: problem.startsWith('Required') ? 'FieldValueRequired' : 'FieldValueInvalid', message: problem, field },
    ],
  });
}

export function expired(message: string): ApiError {
  return new ApiError(410, 'Expired', message);
}

export function methodNotAllowed(): ApiError {
  return new ApiError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});
}

function qualified(resource: Resource): string {
  return resource.group === '' ? resource.name : `${resource.name}.${resource.group}`;
}

function detailsOf(resource: Resource, name: string): JsonObject {
  return { name, group: resource.group || undefined, kind: resource.name };
}
