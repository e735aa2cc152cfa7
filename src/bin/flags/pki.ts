import type { FlagsOf } from './option.ts';
import type { PKI_OPTIONS } from './table.ts';

export type PkiFlags = FlagsOf<typeof PKI_OPTIONS>;

export type PkiMode = 'create' | 'renew' | 'rotate-begin' | 'rotate-finish';

export function pkiMode({ renew, rotateCa }: PkiFlags): PkiMode {
  if (rotateCa !== undefined) return rotateCa === 'begin' ? 'rotate-begin' : 'rotate-finish';
  return renew ? 'renew' : 'create';
}

/** Problems of flags that do not go together, one line each. */
export function pkiProblems({ out, ca, caKey, renew, rotateCa, manifests }: PkiFlags): string[] {
  const problems: string[] = [];
  if (renew && rotateCa !== undefined) problems.push('only one of --renew and --rotate-ca may be given');
  if ((ca === undefined) !== (caKey === undefined)) problems.push('--ca and --ca-key are given together or not at all');
  if (ca !== undefined && !renew) problems.push('--ca and --ca-key are for --renew');
  if (renew && ca === undefined && out === undefined) problems.push('--renew needs --out, or --ca and --ca-key');
  if (rotateCa !== undefined && out === undefined) problems.push('--rotate-ca needs --out');
  if (!manifests && out === undefined) problems.push('--no-manifests needs --out, or it would produce nothing');
  return problems;
}
