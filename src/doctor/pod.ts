import type { Clock } from '#runtime/clock.ts';

import { askHttp, type HttpAnswer, type HttpPlace, placeOf } from './ask-http.ts';
import { type Observation, cannotTell, ok, wrong } from './finding.ts';
import { LISTENERS, whoListens } from './who-listens.ts';

export interface PodOptions {
  /** Where this pod's SDK asks: `http://169.254.169.254`. */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const LISTING = '/latest/meta-data/iam/security-credentials/';

/**
 * Asks as an SDK in this pod would: who answers, which role, and whether there are credentials. Never rejects, shows no secret.
 */
export async function checkPod({ endpoint, clock, signal }: PodOptions): Promise<Observation[]> {
  const place = placeOf(endpoint, { clock, signal });
  const ping = await askHttp({ ...place, path: '/ping' });
  if (!ping.ok) return [judgeSilence(endpoint, ping.reason)];
  const who = await whoListens(place);
  if (who === 'unknown') return judgeStranger(ping, place);
  if (who !== 'agent')
    return [wrong(`${LISTENERS[who]} answers this pod`, 'one of them may run on a node: delete the other')];
  const ask = (path: string): Promise<HttpAnswer> => askHttp({ ...place, path });
  return [ok(`an agent answers this pod in place of ${endpoint}`), ...(await checkRole(ask))];
}

function judgeSilence(endpoint: string, reason: string): Observation {
  if (reason === 'ECONNREFUSED') {
    const fix =
      'run `kiam doctor` in the agent’s container on this node: its redirect is not in place, or it does not listen';
    return wrong(
      `${endpoint} is refused to this pod: the guard is in place, but nothing redirects this pod to an agent`,
      fix,
    );
  }
  const fix = 'does a NetworkPolicy keep this pod from 169.254.169.254 or from the node’s port of the agent?';
  return wrong(`${endpoint}: ${reason}`, fix);
}

/** The pod's requests do not reach the agent. */
async function judgeStranger(ping: Extract<HttpAnswer, { ok: true }>, place: HttpPlace): Promise<Observation[]> {
  const fix =
    'run `kiam doctor` in the agent’s container on this node: --host-interface does not match this pod’s interface, or no agent runs here';
  if (ping.headers['server'] !== 'EC2ws') {
    return [wrong(`something that is no agent of Kiam answers this pod: ${ping.status}`, fix)];
  }
  const reached = wrong('this pod reaches the metadata service of its node, and with it the node’s role', fix);
  const headers = { 'x-aws-ec2-metadata-token-ttl-seconds': '60' };
  const token = await askHttp({ ...place, path: '/latest/api/token', method: 'PUT', headers });
  if (!token.ok || token.status !== 200) return [reached];
  const fixLimit = '`aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 1 --http-tokens required`';
  return [reached, wrong('tokens of the metadata service reach this pod: its hop limit is over 1', fixLimit)];
}

async function checkRole(ask: (path: string) => Promise<HttpAnswer>): Promise<Observation[]> {
  const listing = await ask(LISTING);
  if (!listing.ok) return [wrong(`the agent does not name the pod’s role: ${listing.reason}`, FIX_AGENT)];
  if (listing.status === 404) return [ok('this pod is annotated with no role, and gets none')];
  if (listing.status !== 200) return [refused('the agent does not name the pod’s role', listing)];
  const role = listing.body;
  const credentials = await ask(LISTING + role);
  if (!credentials.ok) return [wrong(`no credentials for ${role}: ${credentials.reason}`, FIX_AGENT)];
  if (credentials.status !== 200) return [refused(`no credentials for ${role}`, credentials)];
  const until = /"Expiration"\s*:\s*"([0-9TZ:-]+)"/.exec(credentials.body)?.[1];
  if (until === undefined) return [cannotTell(`the answer for ${role} has no credentials`, FIX_AGENT)];
  return [ok(`this pod gets credentials for ${role} until ${until}`)];
}

const FIX_AGENT = 'run `kiam doctor` in the agent’s container on this node';

function refused(what: string, { status, body }: { readonly status: number; readonly body: string }): Observation {
  const fix =
    status === 403
      ? '`kubectl describe pod` has an Event that says which annotation forbids it'
      : status === 503
        ? `no server knows this pod, or none answers: ${FIX_AGENT}`
        : 'STS refuses the role: `kubectl describe pod` has an Event with its message';
  return wrong(`${what}: ${status} ${body.trim()}`, fix);
}
