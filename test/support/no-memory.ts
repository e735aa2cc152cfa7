import type { CredentialSource } from '#agent/ports.ts';

/** The part of a credential source that knows nothing without asking. */
export const NO_MEMORY: Omit<CredentialSource, 'podRole' | 'podCredentials' | 'serverHealth'> = {
  knowsPods: false,
  knownRole: () => undefined,
  knownCredentials: () => undefined,
  knownUid: () => undefined,
  roleArnOf: () => '',
  namespaceOf: () => '',
};
