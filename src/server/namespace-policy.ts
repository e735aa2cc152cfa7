import { compileExpression, type Expression } from '#domain/expression.ts';
import type { PodRecord } from '#domain/pod.ts';
import { type Decision, decide } from '#domain/policy.ts';
import { LRUCache } from 'lru-cache';

import type { NamespaceCache } from './ports.ts';

export interface NamespacePolicyOptions {
  readonly namespaces: Pick<NamespaceCache, 'get'>;
  readonly baseArn: string;
  /** False with `--disable-strict-namespace-regexp`. */
  readonly strict: boolean;
}

/** Distinct expressions held compiled. One that is forgotten is compiled again at its next use. */
const COMPILED_EXPRESSIONS = 4096;

/** Decides by the namespaces as they are now. */
export class NamespacePolicy {
  readonly #options: NamespacePolicyOptions;
  readonly #compiled = new LRUCache<string, Expression>({ max: COMPILED_EXPRESSIONS });

  constructor(options: NamespacePolicyOptions) {
    this.#options = options;
  }

  decide(pod: PodRecord, requestedRole: string): Decision {
    const namespace = this.#options.namespaces.get(pod.namespace);
    return decide({
      pod,
      requestedRole,
      namespace,
      expression: this.#expression(namespace?.permitted ?? ''),
      baseArn: this.#options.baseArn,
    });
  }

  #expression(text: string): Expression {
    let expression = this.#compiled.get(text);
    if (expression === undefined) {
      expression = compileExpression(text, this.#options.strict);
      this.#compiled.set(text, expression);
    }
    return expression;
  }
}
