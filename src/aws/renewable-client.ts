import type { STSClient } from '@aws-sdk/client-sts';

/** A client of STS that is replaced after an exception on our own side, because its state may be half-written. */
export interface RenewableClient {
  /** The client to use at this moment. */
  readonly current: STSClient;
  /** Runs calls with the present client. What they throw is thrown on. */
  use<T>(calls: (client: STSClient) => Promise<T>): Promise<T>;
  destroy(): void;
}

interface Generation {
  readonly client: STSClient;
  uses: number;
  isGivenUp: boolean;
}

export function createRenewableClient(create: () => STSClient): RenewableClient {
  let generation: Generation = { client: create(), uses: 0, isGivenUp: false };

  const destroyWhenUnused = ({ client, uses, isGivenUp }: Generation): void => {
    if (isGivenUp && uses === 0) client.destroy();
  };

  return {
    get current() {
      return generation.client;
    },
    use: async (calls) => {
      const used = generation;
      used.uses += 1;
      try {
        return await calls(used.client);
      } catch (error) {
        if (isOwnException(error) && !used.isGivenUp) {
          used.isGivenUp = true;
          generation = { client: create(), uses: 0, isGivenUp: false };
        }
        throw error;
      } finally {
        used.uses -= 1;
        destroyWhenUnused(used);
      }
    },
    destroy: () => generation.client.destroy(),
  };
}

/**
 * Whether an exception is one that JavaScript throws for a mistake of the program, in our code or in the SDK's, as opposed to a
 * failure of the network or an answer of STS: those are Errors of other classes, with a code or a status.
 */
export function isOwnException(error: unknown): boolean {
  return OWN_EXCEPTIONS.some((type) => error instanceof type);
}

const OWN_EXCEPTIONS = [TypeError, RangeError, URIError, ReferenceError, SyntaxError, EvalError] as const;
