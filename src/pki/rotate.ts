import type { PkiFolder } from './folder.ts';
import {
  type IssueOptions,
  type IssueResult,
  issuePairsBy,
  keyPairOf,
  newAuthority,
  openAuthorityPair,
  refuseIssue,
} from './issue.ts';

/**
 * The first step of a rotation: a second authority is trusted beside the one in use, whose pairs stay. The second step must not
 * follow before every daemon has read this one, for its pairs are of the new authority.
 */
export async function beginRotation(current: PkiFolder, options: IssueOptions): Promise<IssueResult> {
  const { authority, server, agent, next } = current;
  if (next !== undefined) return refuseIssue('a rotation of the CA has begun already: finish it by --rotate-ca=finish');
  if (server === undefined || agent === undefined) {
    return refuseIssue(
      'the folder lacks the pairs in use: a rotation needs all the files that kiam pki --out has written',
    );
  }
  const opened = await openAuthorityPair(authority, options.clock);
  if (!opened.ok) return opened;
  const successor = await newAuthority(options);
  const state = {
    authority: keyPairOf(opened.authority),
    next: keyPairOf(successor),
    authoritiesPem: opened.authority.certificatePem + successor.certificatePem,
    server,
    agent,
  };
  return { ok: true, state };
}

/**
 * The second step: the pairs are of the new authority. The old one is trusted until the next renewal, for the Secrets of server
 * and agents reach their pods at different moments, and each side must take the other's old pair until its new one has come.
 */
export async function finishRotation(current: PkiFolder, options: IssueOptions): Promise<IssueResult> {
  const { authoritiesPem, next } = current;
  if (next === undefined || authoritiesPem === undefined) {
    return refuseIssue('no rotation of the CA has begun: begin it by --rotate-ca=begin');
  }
  const opened = await openAuthorityPair(next, options.clock);
  if (!opened.ok) return opened;
  const issued = await issuePairsBy(opened.authority, options);
  if (!issued.ok) return issued;
  // Out of what is trusted already, so that a step that was interrupted can be taken again and loses no authority.
  const former = authoritiesPem.replace(next.certificatePem, '');
  return { ok: true, state: { ...issued.state, authoritiesPem: issued.state.authoritiesPem + former } };
}
