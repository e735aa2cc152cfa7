import { choiceParser, booleanOption, durationParser, optionalOption, parseName, valueOption } from './option.ts';
import type { OptionValues, Parsed } from './option.ts';
import { canonicalAddress } from '#domain/address.ts';

export type PkiMode = 'create' | 'renew' | 'rotate-begin' | 'rotate-finish';

export interface PkiFlags {
  readonly mode: PkiMode;
  /** Undefined keeps nothing: the key of the CA is then gone when the command ends. */
  readonly folder: string | undefined;
  /** The CA to renew by, where it does not lie in the folder. */
  readonly authority: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  readonly printsManifests: boolean;
  readonly namespace: string;
  /** Names of the server beside those of its Service and the loopback. */
  readonly furtherServerNames: readonly string[];
  readonly validForMs: number;
  readonly authorityValidForMs: number;
}

const OUTPUT = 'Output';
const STEP = 'Step';
const CONTENT = 'Certificates';

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names */
function parseNamespace(text: string): Parsed<string> {
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text)
    ? { ok: true, value: text }
    : { ok: false, reason: 'is no name of a namespace' };
}

/** DNS names and IP addresses, separated by commas. */
function parseNames(text: string): Parsed<readonly string[]> {
  const names = text.split(',').filter((name) => name !== '');
  const wrong = names.find((name) => canonicalAddress(name) === undefined && !isDnsName(name));
  return wrong === undefined
    ? { ok: true, value: names.map((name) => canonicalAddress(name) ?? name) }
    : { ok: false, reason: 'is not a list of DNS names and IP addresses' };
}

/** RFC 1035, 2.3.1; a `*` may stand for the first label. */
function isDnsName(name: string): boolean {
  return /^(?=.{1,253}$)(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/.test(
    name,
  );
}

export const PKI_OPTIONS = {
  out: optionalOption({
    group: OUTPUT,
    describe: 'Folder that keeps the CA, its key and both pairs; without it the key of the CA is not kept',
    parse: parseName,
    defaultText: 'none',
  }),
  manifests: booleanOption({ group: OUTPUT, describe: 'Print the two Secrets for kubectl apply -f -', default: true }),
  namespace: valueOption({
    group: OUTPUT,
    describe: 'Namespace of the Secrets and of the server',
    default: 'kube-system',
    parse: parseNamespace,
  }),
  renew: booleanOption({ group: STEP, describe: 'Keep the CA and issue both pairs anew', default: false }),
  'rotate-ca': optionalOption({
    group: STEP,
    describe: 'begin: trust a new CA beside the old one. finish, once all pods have read that: issue by the new one',
    parse: choiceParser<'begin' | 'finish'>({ begin: 'begin', finish: 'finish' }),
    defaultText: 'no',
  }),
  ca: optionalOption({ group: STEP, describe: 'PEM file of the CA to renew by, with --ca-key', parse: parseName }),
  'ca-key': optionalOption({ group: STEP, describe: 'PEM file of its private key', parse: parseName }),
  'server-names': valueOption({
    group: CONTENT,
    describe: 'Names of the server beside kiam-server, its long forms, localhost and 127.0.0.1; separated by commas',
    default: '',
    parse: parseNames,
  }),
  'valid-for': valueOption({
    group: CONTENT,
    describe: 'How long both pairs are valid',
    default: '8760h',
    parse: durationParser('1m', '87600h'),
  }),
  'ca-valid-for': valueOption({
    group: CONTENT,
    describe: 'How long a new CA is valid',
    default: '87600h',
    parse: durationParser('1m', '876000h'),
  }),
};

type PkiValues = OptionValues<typeof PKI_OPTIONS>;

export function pkiFlags(values: PkiValues): PkiFlags {
  const { ca, 'ca-key': key } = values;
  return {
    mode: modeOf(values),
    folder: values.out,
    authority: ca === undefined || key === undefined ? undefined : { certificateFile: ca, keyFile: key },
    printsManifests: values.manifests,
    namespace: values.namespace,
    furtherServerNames: values['server-names'],
    validForMs: values['valid-for'],
    authorityValidForMs: values['ca-valid-for'],
  };
}

function modeOf({ renew, 'rotate-ca': rotation }: PkiValues): PkiMode {
  if (rotation !== undefined) return rotation === 'begin' ? 'rotate-begin' : 'rotate-finish';
  return renew ? 'renew' : 'create';
}

/** What no single flag is to blame for. */
export function pkiProblems(values: PkiValues): string[] {
  const problems: string[] = [];
  const { out, ca, 'ca-key': key, renew, 'rotate-ca': rotation, manifests } = values;
  if (renew && rotation !== undefined) problems.push('only one of --renew and --rotate-ca may be given');
  if ((ca === undefined) !== (key === undefined)) problems.push('--ca and --ca-key are given together or not at all');
  if (ca !== undefined && !renew) problems.push('--ca and --ca-key are for --renew');
  if (renew && ca === undefined && out === undefined) problems.push('--renew needs --out, or --ca and --ca-key');
  if (rotation !== undefined && out === undefined) problems.push('--rotate-ca needs --out');
  if (!manifests && out === undefined) problems.push('--no-manifests needs --out, or nothing would come of it');
  return problems;
}
