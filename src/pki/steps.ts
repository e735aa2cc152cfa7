import type { Clock } from '#runtime/clock.ts';

import { createAuthority, type KeyPairPem, openAuthority, type OwnedAuthority } from './authority.ts';
import type { PkiFolder, PkiState } from './folder.ts';
import { issuePairs } from './kiam-pairs.ts';

export interface PkiStepOptions {
  readonly clock: Clock;
  readonly serverNames: readonly string[];
  /** How long the pairs of server and agent are valid, in milliseconds; never beyond their authority. */
  readonly validForMs: number;
  /** How long a new authority is valid, in milliseconds. */
  readonly authorityValidForMs: number;
}

export type PkiStep =
  | { readonly ok: true; readonly state: PkiState }
  /** A sentence that says what is missing or wrong; never a word of a key. */
  | { readonly ok: false; readonly reason: string };

/** A new authority and both pairs. */
export async function createPki(options: PkiStepOptions): Promise<PkiStep> {
  return issueBy(await newAuthority(options), options);
}

/** New pairs of the same authority. Only that one is trusted from then on: what a rotation had left beside it goes. */
export async function renewPairs(
  { authority, next }: Pick<PkiFolder, 'authority' | 'next'>,
  options: PkiStepOptions,
): Promise<PkiStep> {
  if (next !== undefined) return refuse('a rotation of the CA has begun: finish it by --rotate-ca=finish, then renew');
  const opened = await openPair(authority, options.clock);
  return opened.ok ? issueBy(opened.authority, options) : opened;
}

/**
 * The first step of a rotation: a second authority is trusted beside the one in use, whose pairs stay. The second step must not
 * follow before every daemon has read this one, for its pairs are of the new authority.
 */
export async function beginRotation(current: PkiFolder, options: PkiStepOptions): Promise<PkiStep> {
  const { authority, server, agent, next } = current;
  if (next !== undefined) return refuse('a rotation of the CA has begun already: finish it by --rotate-ca=finish');
  if (server === undefined || agent === undefined) {
    return refuse('the folder lacks the pairs in use: a rotation needs all the files that kiam pki --out has written');
  }
  const opened = await openPair(authority, options.clock);
  if (!opened.ok) return opened;
  const successor = await newAuthority(options);
  const state = {
    authority: pairOf(opened.authority),
    next: pairOf(successor),
    authoritiesPem: opened.authority.certificatePem + successor.certificatePem,
    server,
    agent,
  };
  return { ok: true, state };
}

/**
 * The second step: the pairs are of the new authority. The old one is trusted until the next renewal, for the Secrets of server and
 * agents reach their pods at different moments, and each side must take the other's old pair until its new one has come.
 */
export async function finishRotation(current: PkiFolder, options: PkiStepOptions): Promise<PkiStep> {
  const { authoritiesPem, next } = current;
  if (next === undefined || authoritiesPem === undefined) {
    return refuse('no rotation of the CA has begun: begin it by --rotate-ca=begin');
  }
  const opened = await openPair(next, options.clock);
  if (!opened.ok) return opened;
  const issued = await issueBy(opened.authority, options);
  if (!issued.ok) return issued;
  // Out of what is trusted already, so that a step that was interrupted can be taken again and loses no authority.
  const former = authoritiesPem.replace(next.certificatePem, '');
  return { ok: true, state: { ...issued.state, authoritiesPem: issued.state.authoritiesPem + former } };
}

function newAuthority({ clock, authorityValidForMs }: PkiStepOptions): Promise<OwnedAuthority> {
  return createAuthority({ commonName: 'kiam', clock, notAfter: new Date(clock.now() + authorityValidForMs) });
}

async function issueBy(
  authority: OwnedAuthority,
  { clock, serverNames, validForMs }: PkiStepOptions,
): Promise<PkiStep> {
  const notAfter = new Date(Math.min(clock.now() + validForMs, authority.expiresAtMs));
  const pairs = await issuePairs({ authority, serverNames, notAfter });
  return {
    ok: true,
    state: { ...pairs, authority: pairOf(authority), authoritiesPem: authority.certificatePem },
  };
}

type Opened = { readonly ok: true; readonly authority: OwnedAuthority } | ReturnType<typeof refuse>;

async function openPair(pair: KeyPairPem | undefined, clock: Clock): Promise<Opened> {
  if (pair === undefined) return refuse('the CA and its key are not there: name their folder by --out, or both files');
  const opened = await openAuthority(pair, clock);
  if (opened.ok && opened.authority.expiresAtMs <= clock.now()) {
    return refuse('the CA has expired: make a new one in another folder');
  }
  return opened;
}

function pairOf({ certificatePem, privateKeyPem }: OwnedAuthority): KeyPairPem {
  return { certificatePem, privateKeyPem };
}

function refuse(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason };
}
