import type { Clock } from '#runtime/clock.ts';
import type { ListenAddress } from '#telemetry/listen-address.ts';

import { askHttp } from './ask-http.ts';
import { type Observation, cannotTell, ok, wrong } from './finding.ts';

export interface DaemonOptions {
  /** `--prometheus-listen-addr` of the daemon; undefined where it has none. */
  readonly address: ListenAddress | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** What the daemon that runs beside this program reports: the reasons why it is not ready. Never rejects. */
export async function checkDaemon({ address, clock, signal }: DaemonOptions): Promise<Observation[]> {
  if (address === undefined) {
    return [cannotTell('the daemon has no --prometheus-listen-addr, where it would report its state', 'give it one')];
  }
  const answer = await askHttp({ ...localEnd(address), path: '/ready', clock, signal });
  if (!answer.ok) {
    const fix = 'run this in the daemon’s own container, with its flags; `kubectl logs --previous` says why it ended';
    return [cannotTell(`no daemon answers at ${address.host}:${address.port}/ready: ${answer.reason}`, fix)];
  }
  if (answer.status === 200) return [ok('the daemon that runs here is ready')];
  const reasons = answer.body.split('\n').filter((line) => line !== '');
  return reasons.map((reason) => wrong(`the daemon that runs here is not ready: ${reason}`, 'see the other lines'));
}

/** The address by which a listener is reached from its own machine. */
export function localEnd({ host, port }: ListenAddress): { readonly host: string; readonly port: number } {
  const isAll = host === '' || host === '0.0.0.0' || host === '::';
  return { host: isAll ? '127.0.0.1' : host, port };
}
