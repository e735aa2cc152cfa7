import type { MetadataCredentials } from '#domain/credentials.ts';
import type { Outcome } from '#domain/failure.ts';

/** Where the agent's routes get their answers: by asking a server, later also from the node's own memory. Never rejects. */
export interface CredentialSource {
  /** The role as annotated of the pod with this address; `''` is a pod without a role. Waits for an unknown pod as long as `signal` allows. */
  podRole(address: string, signal: AbortSignal): Promise<Outcome<string>>;
  /** Credentials for the role that the pod asked for. Waits for an unknown pod as long as `signal` allows. */
  podCredentials(address: string, role: string, signal: AbortSignal): Promise<Outcome<MetadataCredentials>>;
  /** The server's word on its own health, for `/health?deep=1`. */
  serverHealth(signal: AbortSignal): Promise<Outcome<string>>;

  /**
   * What is known without asking anyone; undefined where the source has to be asked. A source that answers from memory
   * offers these, so that a warm request costs no promise, no timer and no signal.
   */
  knownRole?(address: string): string | undefined;
  /** As `knownRole`. The same object for the same credentials: its text is kept beside it. */
  knownCredentials?(address: string, role: string): MetadataCredentials | undefined;
  /** The UID of the pod that has the address, where it is known. Tokens are bound to it. */
  knownUid?(address: string): string | undefined;
  /** The full ARN of the pod's role, where it is known; without it `iam/info` answers only for roles annotated as ARNs. */
  knownRoleArn?(address: string): string | undefined;
}
