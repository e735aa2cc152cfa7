import { compilePermitted, type Permitted, type PermittedRules, permittedAnnotation } from '#domain/allowed-roles.ts';
import type { Expression } from '#domain/expression.ts';
import type { PodRecord } from '#domain/pod.ts';
import { type Decision, decide } from '#domain/policy.ts';
import { resolveRole } from '#domain/role.ts';
import type { Logger } from '#telemetry/logger.ts';
import { LRUCache } from 'lru-cache';

import type { NamespaceView } from './ports.ts';

export interface NamespacePolicyOptions extends PermittedRules {
  readonly namespaces: Pick<NamespaceView, 'get'>;
  readonly baseArn: string;
  readonly logger: Logger;
}

/** Distinct expressions held compiled. One that is forgotten is compiled again at its next use. */
const COMPILED_EXPRESSIONS = 4096;

const NO_NAMESPACE = { permitted: '' };

/** Decides by the namespaces as they are now. */
export class NamespacePolicy {
  readonly #options: NamespacePolicyOptions;
  readonly #compiled = new LRUCache<string, Expression>({ max: COMPILED_EXPRESSIONS });
  /** Namespaces, with their expressions, that were warned about. */
  readonly #compared = new LRUCache<string, true>({ max: COMPILED_EXPRESSIONS });

  constructor(options: NamespacePolicyOptions) {
    this.#options = options;
  }

  decide(pod: PodRecord, requestedRole: string): Decision {
    const { namespaces, baseArn } = this.#options;
    const namespace = namespaces.get(pod.namespace);
    const expression = this.#expression(namespace);
    const decision = decide({ pod, requestedRole, namespace, expression, baseArn });
    if (!decision.allowed && namespace !== undefined && namespace.isList !== true) {
      if (expression.ok) this.#compareWithKiam(pod, expression);
      else if (expression.isTooLarge === true) this.#tellTooLarge(pod, expression);
    }
    return decision;
  }

  /** Warns users who come from Kiam why a pod no longer gets its role, once for each expression of a namespace. */
  #compareWithKiam(pod: PodRecord, expression: Extract<Expression, { ok: true }>): void {
    const { baseArn, logger } = this.#options;
    const key = JSON.stringify([pod.namespace, expression.text]);
    if (expression.text === '' || this.#compared.has(key)) return;
    const resolution = resolveRole(pod.role, baseArn);
    if (!resolution.ok || expression.matches(resolution.role.arn)) return;
    if (!expression.matchesAsKiam(resolution.role.arn)) return;
    this.#compared.set(key, true);
    logger.warn('the expression of a namespace does not match the whole ARN of a role; Kiam would have permitted it', {
      namespace: pod.namespace,
      'namespace.permitted': expression.text,
      'pod.iam.roleArn': resolution.role.arn,
    });
  }

  /** As {@link #compareWithKiam}. Whether Kiam would have permitted a role is not tried: the limits are there to spare that. */
  #tellTooLarge({ namespace }: PodRecord, { text, reason }: Extract<Expression, { ok: false }>): void {
    const key = JSON.stringify([namespace, text]);
    if (this.#compared.has(key)) return;
    this.#compared.set(key, true);
    this.#options.logger.warn(
      'the expression of a namespace is over a limit, so that it permits nothing; Kiam has none',
      {
        namespace,
        'namespace.permitted': text,
        error: reason,
      },
    );
  }

  #expression(namespace: Permitted = NO_NAMESPACE): Expression {
    const key = `${permittedAnnotation(namespace)} ${namespace.permitted}`;
    const expression = this.#compiled.get(key) ?? compilePermitted(namespace, this.#options);
    this.#compiled.set(key, expression);
    return expression;
  }
}
