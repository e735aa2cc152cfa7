import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { KeyPairPem } from './authority.ts';
import type { KiamCertificates } from './kiam-pairs.ts';

/** Everything that is kept between two calls of `kiam pki`. */
export interface PkiState extends KiamCertificates {
  readonly authority: KeyPairPem;
  /** The new authority, between the two steps of a rotation. */
  readonly next?: KeyPairPem | undefined;
}

/** What a folder holds; undefined for a missing file. */
export type PkiFolder = { readonly [Part in keyof PkiState]: PkiState[Part] | undefined };

/** Those of the Secrets, and those of the authorities, whose keys no daemon ever needs. */
const PAIRS = {
  authority: ['ca-cert.pem', 'ca-key.pem'],
  next: ['next-ca-cert.pem', 'next-ca-key.pem'],
  server: ['server.pem', 'server-key.pem'],
  agent: ['agent.pem', 'agent-key.pem'],
} as const;
const AUTHORITIES = 'ca.pem';

/** Reads what is there. Rejects when a file is there and cannot be read. */
export async function readPkiFolder(folder: string): Promise<PkiFolder> {
  return {
    authoritiesPem: await read(folder, AUTHORITIES),
    authority: await readPair(folder, 'authority'),
    next: await readPair(folder, 'next'),
    server: await readPair(folder, 'server'),
    agent: await readPair(folder, 'agent'),
  };
}

/** Writes every file, each at once or not at all, readable by the owner alone. The folder is made if need be. */
export async function writePkiFolder(folder: string, state: PkiState): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // Authorities come first: what they have signed must never be in use without them.
  if (state.next !== undefined) await writePair(folder, 'next', state.next);
  await writePair(folder, 'authority', state.authority);
  await write(folder, AUTHORITIES, state.authoritiesPem);
  await writePair(folder, 'server', state.server);
  await writePair(folder, 'agent', state.agent);
  if (state.next !== undefined) return;
  for (const name of PAIRS.next) await rm(join(folder, name), { force: true });
}

async function readPair(folder: string, pair: keyof typeof PAIRS): Promise<KeyPairPem | undefined> {
  const [certificate, key] = PAIRS[pair];
  const certificatePem = await read(folder, certificate);
  const privateKeyPem = await read(folder, key);
  return certificatePem === undefined || privateKeyPem === undefined ? undefined : { certificatePem, privateKeyPem };
}

async function read(folder: string, name: string): Promise<string | undefined> {
  try {
    return await readFile(join(folder, name), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

async function writePair(folder: string, pair: keyof typeof PAIRS, pem: KeyPairPem): Promise<void> {
  const [certificate, key] = PAIRS[pair];
  await write(folder, key, pem.privateKeyPem);
  await write(folder, certificate, pem.certificatePem);
}

/** A new file takes the place of the old one, so that a key is never readable by others, not even for a moment. */
async function write(folder: string, name: string, text: string): Promise<void> {
  const temporary = join(folder, `.${name}.new`);
  await rm(temporary, { force: true });
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(folder, name));
}
