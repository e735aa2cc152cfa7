import { readFile } from 'node:fs/promises';

import { type PkiFolder, readPkiFolder, writePkiFolder } from '#pki/folder.ts';
import { serverNamesIn } from '#pki/kiam-pairs.ts';
import { secretManifests } from '#pki/secrets.ts';
import { createPki, type IssueResult, type IssueOptions, renewPairs } from '#pki/issue.ts';
import { beginRotation, finishRotation } from '#pki/rotate.ts';
import { systemClock } from '#runtime/clock.ts';

import { describeError } from '#runtime/errors.ts';

import { type PkiFlags, type PkiMode, pkiMode } from './flags/pki.ts';

/** Carries out one step and prints the two Secrets; says on standard error what to do next. Exits 1 when it cannot. */
export async function runPki({ flags }: { readonly flags: PkiFlags }): Promise<void> {
  try {
    const step = await takeStep(flags);
    if (!step.ok) return fail(step.reason);
    // The folder first: Secrets whose CA is lost could not be renewed.
    if (flags.out !== undefined) await writePkiFolder(flags.out, step.state);
    if (flags.manifests) process.stdout.write(secretManifests(step.state, flags.namespace));
    for (const line of hints(flags)) process.stderr.write(`kiam: ${line}\n`);
  } catch (error) {
    // Files: their errors name a path and a cause, never a content.
    fail(describeError(error));
  }
}

async function takeStep(flags: PkiFlags): Promise<IssueResult> {
  const { out: folder = '' } = flags;
  const mode = pkiMode(flags);
  const options: IssueOptions = {
    clock: systemClock,
    serverNames: [...new Set([...serverNamesIn(flags.namespace), ...flags.serverNames])],
    validForMs: flags.validForMs,
    authorityValidForMs: flags.caValidForMs,
  };
  const current = folder === '' ? NOTHING : await readPkiFolder(folder);
  if (mode === 'rotate-begin') return beginRotation(current, options);
  if (mode === 'rotate-finish') return finishRotation(current, options);
  if (mode === 'renew') {
    return renewPairs({ ...current, authority: (await givenAuthority(flags)) ?? current.authority }, options);
  }
  if (Object.values(current).every((part) => part === undefined)) return createPki(options);
  return { ok: false, reason: `${folder} holds certificates already: give --renew or --rotate-ca` };
}

const NOTHING: PkiFolder = {
  authoritiesPem: undefined,
  authority: undefined,
  next: undefined,
  server: undefined,
  agent: undefined,
};

async function givenAuthority({ ca, caKey }: PkiFlags): Promise<PkiFolder['authority']> {
  if (ca === undefined || caKey === undefined) return undefined;
  return { certificatePem: await readFile(ca, 'utf8'), privateKeyPem: await readFile(caKey, 'utf8') };
}

function hints(flags: PkiFlags): readonly string[] {
  const mode = pkiMode(flags);
  if (flags.out === undefined) {
    return mode === 'create'
      ? ['the key of the CA is not kept: to renew the pairs later, give --out and keep that folder safe']
      : [];
  }
  return HINTS[mode](flags.out);
}

/** What to do next, by the step that was done. */
const HINTS: Readonly<Record<PkiMode, (folder: string) => readonly string[]>> = {
  create: (folder) => [
    `${folder} holds the key of the CA: keep it safe, and renew by kiam pki --renew --out ${folder}`,
  ],
  renew: () => [],
  'rotate-begin': (folder) => [
    'apply both Secrets, and wait until every pod has read them: the kubelet takes some minutes',
    `then, and not before: kiam pki --rotate-ca=finish --out ${folder}`,
  ],
  'rotate-finish': (folder) => [
    `the old CA is trusted until kiam pki --renew --out ${folder}: run that once every pod has read these Secrets`,
  ],
};

function fail(reason: string): void {
  process.stderr.write(`kiam: error: ${reason}\n`);
  process.exitCode = 1;
}
