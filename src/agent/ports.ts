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
}
