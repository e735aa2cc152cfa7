import type { MetadataCredentials } from '#domain/credentials.ts';
import type { Outcome } from '#domain/failure.ts';

import type { PodClaims } from './container/token-verifier.ts';

/**
 * What the node's kernel shows of whoever has an address now. The key is equal for two moments only if the address cannot have
 * changed hands between them; `none` where the kernel shows nothing that would tell.
 */
export type Evidence =
  | { readonly kind: 'interface'; readonly key: string }
  | {
      readonly kind: 'none';
      readonly reason: string;
      /** The key of the interface that the address is behind together with others; undefined where that is not known. */
      readonly behind?: string | undefined;
    };

/** Who asks: the source address of the connection, and what the kernel showed of it when the connection was accepted. */
export interface Client {
  /** In canonical form. */
  readonly address: string;
  readonly evidence: Evidence;
  /** In monotonic milliseconds. The pod that has the address at any later moment has the connection too, or it is dead. */
  readonly acceptedMs: number;
}

export interface PodRole {
  /** Exactly as annotated; `''` is a pod without a role. */
  readonly role: string;
  /** `''` where it is not known: the server is an older one, or policy denies the role. */
  readonly roleArn: string;
  /** The pod that has it; `''` or undefined where the server does not say. */
  readonly uid?: string;
}

/** What a pod that proves itself by its token is given. */
export interface PodCredentials {
  /** The same object for the same credentials: its text is kept beside it. */
  readonly credentials: MetadataCredentials;
  /** `''` where it is not known. */
  readonly roleArn: string;
}

/** Where container credentials come from: those of the pod that a token names, and only if the connection can be that pod's. */
export interface PodCredentialSource {
  /** What is known without asking anyone; undefined where the source has to be asked. */
  known(client: Client, claims: PodClaims): PodCredentials | undefined;
  /** Waits for a pod that is not known yet as long as `signal` allows. Never rejects. */
  find(client: Client, claims: PodClaims, signal: AbortSignal): Promise<Outcome<PodCredentials>>;
}

/** Where the agent's routes get their answers: from the node's own memory, or by asking a server. Never rejects. */
export interface CredentialSource {
  /** The role of the pod that asks. Waits for an unknown pod as long as `signal` allows. */
  podRole(client: Client, signal: AbortSignal): Promise<Outcome<PodRole>>;
  /**
   * Credentials for the role that the pod asked for, and, where `uid` is given, for that pod alone. Waits for an unknown pod as
   * long as `signal` allows.
   */
  podCredentials(
    client: Client,
    role: string,
    signal: AbortSignal,
    uid?: string,
  ): Promise<Outcome<MetadataCredentials>>;
  /** What the server says about its own health, for `/health?deep=1`. */
  serverHealth(signal: AbortSignal): Promise<Outcome<string>>;

  /**
   * What is known without asking anyone; undefined where the source has to be asked: a warm request costs no promise, no timer
   * and no signal.
   */
  knownRole(client: Client): PodRole | undefined;
  /** As `knownRole`. The same object for the same credentials: its text is kept beside it. */
  knownCredentials(client: Client, role: string): MetadataCredentials | undefined;
  /** The ARN of the role whose credentials these are; '' where it is not known. */
  roleArnOf(client: Client, credentials: MetadataCredentials): string;
  /** The namespace of the pod that has the address; '' where it is not known. */
  namespaceOf(address: string): string;
  /** Whether pods are known by their addresses at all. */
  readonly knowsPods: boolean;
  /** The UID of the pod that has the address, where it is known. Tokens are bound to it. */
  knownUid(address: string): string | undefined;
}
