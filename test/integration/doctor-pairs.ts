import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { createAuthority } from '#pki/authority.ts';
import type { World } from '#sandbox/world.ts';

import type { PairRequest, Planted } from './doctor-mistakes.ts';

let pairs = 0;

/** Issues and writes a pair with its CA, and returns the flags that name them; the CA of a foreign pair is left out. */
export async function writePair(world: World, folder: string, request: PairRequest): Promise<Planted> {
  const { usage, names = ['kiam-server', 'localhost'], isForeign = false } = request;
  const authority = isForeign ? await createAuthority({ commonName: 'another' }) : world.authority;
  const { certificatePem, privateKeyPem } = await authority.issue({
    commonName: 'planted',
    usage,
    ...(usage === 'server' ? { dnsNames: names } : {}),
    ...(request.notBefore === undefined ? {} : { notBefore: request.notBefore }),
    ...(request.notAfter === undefined ? {} : { notAfter: request.notAfter }),
  });
  pairs += 1;
  const path = (kind: string): string => join(folder, `${pairs}-${kind}.pem`);
  await writeFile(path('cert'), certificatePem);
  await writeFile(path('key'), privateKeyPem);
  await writeFile(path('ca'), authority.certificatePem);
  return { flags: [`--cert=${path('cert')}`, `--key=${path('key')}`, ...(isForeign ? [] : [`--ca=${path('ca')}`])] };
}

/** A CA file with the installation's own and that of a planted pair. */
export async function joinedAuthorities(world: World, { flags = [] }: Planted): Promise<string> {
  const certificate = flags.find((flag) => flag.startsWith('--cert='))?.slice('--cert='.length) ?? '';
  const path = certificate.replace('-cert.pem', '-ca.pem');
  await writeFile(path, (await readFile(path, 'utf8')) + (await readFile(world.certificates.ca, 'utf8')));
  return path;
}
