import type { Clock } from '#runtime/clock.ts';

import { createAuthority, type KeyPairPem, openAuthority, type OwnedAuthority } from './authority.ts';
import type { PkiFolder, PkiState } from './folder.ts';
import { issuePairs } from './kiam-pairs.ts';

export interface IssueOptions {
  readonly clock: Clock;
  readonly serverNames: readonly string[];
  /** How long the pairs of server and agent are valid, in milliseconds; never beyond their authority. */
  readonly validForMs: number;
  /** How long a new authority is valid, in milliseconds. */
  readonly authorityValidForMs: number;
}

export type IssueResult =
  | { readonly ok: true; readonly state: PkiState }
  /** A sentence that says what is missing or wrong; never a word of a key. */
  | { readonly ok: false; readonly reason: string };

/** A new authority and both pairs. */
export async function createPki(options: IssueOptions): Promise<IssueResult> {
  return issuePairsBy(await newAuthority(options), options);
}

/** New pairs of the same authority. Only that one is trusted from then on: what a rotation had left beside it goes. */
export async function renewPairs(
  { authority, next }: Pick<PkiFolder, 'authority' | 'next'>,
  options: IssueOptions,
): Promise<IssueResult> {
  if (next !== undefined)
    return refuseIssue('a rotation of the CA has begun: finish it by --rotate-ca=finish, then renew');
  const opened = await openAuthorityPair(authority, options.clock);
  return opened.ok ? issuePairsBy(opened.authority, options) : opened;
}

/** A new authority that is valid as long as the options say. */
export function newAuthority({ clock, authorityValidForMs }: IssueOptions): Promise<OwnedAuthority> {
  return createAuthority({ commonName: 'kiam', clock, notAfter: new Date(clock.now() + authorityValidForMs) });
}

/** Both pairs by an authority, valid no longer than it. */
export async function issuePairsBy(
  authority: OwnedAuthority,
  { clock, serverNames, validForMs }: IssueOptions,
): Promise<IssueResult> {
  const notAfter = new Date(Math.min(clock.now() + validForMs, authority.expiresAtMs));
  const pairs = await issuePairs({ authority, serverNames, notAfter });
  return {
    ok: true,
    state: { ...pairs, authority: keyPairOf(authority), authoritiesPem: authority.certificatePem },
  };
}

type Opened = { readonly ok: true; readonly authority: OwnedAuthority } | ReturnType<typeof refuseIssue>;

/** The authority whose certificate and key these are, if it can still issue. */
export async function openAuthorityPair(pair: KeyPairPem | undefined, clock: Clock): Promise<Opened> {
  if (pair === undefined)
    return refuseIssue('the CA and its key are not there: name their folder by --out, or both files');
  const opened = await openAuthority(pair, clock);
  if (opened.ok && opened.authority.expiresAtMs <= clock.now()) {
    return refuseIssue('the CA has expired: make a new one in another folder');
  }
  return opened;
}

/** What of an authority is kept in files. */
export function keyPairOf({ certificatePem, privateKeyPem }: OwnedAuthority): KeyPairPem {
  return { certificatePem, privateKeyPem };
}

/** Why nothing is issued, in one sentence. */
export function refuseIssue(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason };
}
