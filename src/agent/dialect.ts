import type { Failure } from '#domain/failure.ts';
import { requestFields } from '#telemetry/fields.ts';
import type { Fields } from '#telemetry/logger.ts';

import { type Answer, jsonAnswer, type RouteHandler, textAnswer } from './answer.ts';
import { credentialsFailureAnswer, emptyRoleAnswer, roleFailureAnswer } from './failure-response.ts';
import type { Client, PodRole } from './ports.ts';
import { type Route, routeOf } from './route.ts';

/** Credentials in the order of EC2: Code, Type, AccessKeyId, SecretAccessKey, Token, Expiration, LastUpdated, AccountId. */
export type CredentialTexts = Readonly<Record<string, string>>;

/**
 * How the metadata server speaks to pods: what a path means, and what an answer looks like. Who gets what is decided elsewhere.
 */
export interface Dialect {
  /** What a canonical path asks for. */
  readonly routeOf: (path: string) => Route;
  /** A role as the source of credentials knows it, given how a pod asks for it. */
  readonly askedRole: (role: string) => string;
  readonly roleAnswer: (role: PodRole, client: Client) => Answer;
  readonly roleFailure: (failure: Failure, client: Client) => Answer;
  readonly credentialsAnswer: (texts: CredentialTexts) => Answer;
  /** `role` is as the pod asked for it. */
  readonly credentialsFailure: (failure: Failure, client: Client, role: string) => Answer;
  /** Given the answer that has the id of the instance, or the error in its place. */
  readonly healthAnswer: (instanceId: Answer) => Answer;
  /** Answers routes named `own`. */
  readonly own?: RouteHandler;
  /** The fields of the access log. */
  readonly logFields: (facts: Parameters<typeof requestFields>[0]) => Fields;
}

/** Kiam's. */
export const KIAM_DIALECT: Dialect = {
  routeOf,
  askedRole: (role) => role,
  roleAnswer: ({ role }) => (role === '' ? emptyRoleAnswer() : textAnswer(role)),
  roleFailure: roleFailureAnswer,
  credentialsAnswer: jsonAnswer,
  credentialsFailure: credentialsFailureAnswer,
  healthAnswer: (instanceId) => instanceId,
  logFields: requestFields,
};
