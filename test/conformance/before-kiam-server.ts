import { type Compared, recordedAnswer } from './answers.ts';
import { DIFFERENCES } from './differences.ts';
import { type RecordedCase, TRANSCRIPT } from './recorded.ts';

/** What our agent cannot know from Kiam's server as it does from ours, and says instead. */
const FROM_KIAM: Readonly<Record<string, Partial<Compared>>> = {
  // The text of STS may name the role of the server: its code alone goes further.
  'creds sts error': { body: 'error fetching credentials: InternalFailure\n' },
  'creds sts throttled': { body: 'error fetching credentials: no server answered in time\n' },
  // Kiam's server tells the name as annotated, not the ARN.
  'blocked iam info': { status: 404, type: 'text/plain; charset=utf-8', body: "the role's ARN is not known\n" },
  // Kiam's server does not tell which pod has an address, and a token that is bound to the address alone lives a minute.
  token: { tokenTtl: '60' },
  'token with body': { tokenTtl: '60' },
  'token odd version': { tokenTtl: '60' },
  // Kiam's server says how long its sessions last.
  'creds trailing slash': { body: keysOf('creds') },
  'creds path leading': { body: keysOf('creds path leading, asked plain') },
};

/** What our agent is to answer before a server of Kiam: what Kiam's agent did, but for what ours does otherwise. */
export function beforeKiamServer(recorded: RecordedCase): Compared {
  const ours = DIFFERENCES.filter(({ of, applies }) => of === 'agent' && applies(recorded));
  const answer = ours.reduce((wanted, difference) => difference.ours(wanted, recorded), recordedAnswer(recorded));
  return { ...answer, ...FROM_KIAM[recorded.name] };
}

function keysOf(name: string): Compared['body'] {
  const found = TRANSCRIPT.find((recorded) => recorded.name === name);
  return found === undefined ? '' : recordedAnswer(found).body;
}
