import { COMBINATIONS, measureRenewals } from '../support/renewals.ts';
import { measureReplicaCalls, type ReplicaSetting } from '../support/replica-calls.ts';
import { ask, LISTING, openPlace, pause } from './place.ts';
import { type Figure, fixed } from './report.ts';
import type { Setting } from './setting.ts';

const RUNS = 6;
/** Longer than the server takes to notice that an identity has lost its last pod. */
const BETWEEN_RUNS_MS = 2500;
const ROLE = 'job';

/** P6: AssumeRole calls for each identity and hour, whatever AWS grants, and of a CronJob whose runs follow each other. */
export async function measureCalls({ bundles, quick }: Setting): Promise<Figure> {
  const hours = quick ? 6 : 24;
  const identities = quick ? 5 : 10;
  const renewals = [];
  for (const combination of COMBINATIONS) {
    renewals.push({ ...combination, ...(await measureRenewals(combination, { hours, identities })) });
  }
  const spreads = [];
  for (const setting of SETTINGS) {
    spreads.push({ ...setting, ...(await measureReplicaCalls(setting, quick ? QUICK_SIZE : SIZE)) });
  }
  const cronJob = await measureCronJob(bundles);
  return {
    name: 'p6',
    title: 'AssumeRole calls per identity and hour, and for the runs of a CronJob',
    method: [
      `${identities} identities over ${hours} hours of injected time, in the server's cache and the AWS SDK's client before an STS in the same process; the first call of each is counted`,
      `replicas: their caches, their choice of nodes and the agents' choice of a replica over ${(quick ? QUICK_SIZE : SIZE).hours} hours of injected time, streams that move on every 12 minutes, each pod asking a server once in 50 minutes`,
      `${RUNS} pods with one role, each gone ${fixed(BETWEEN_RUNS_MS)} ms before the next comes, before real daemons`,
    ],
    rows: [
      ...renewals.map(({ askedHours, grantedHours, refreshMinutes, perIdentityHour, longestGapSeconds }) => ({
        figure: `AssumeRole calls per identity and hour: ${askedHours} h asked, ${grantedHours} h granted, refresh ${refreshMinutes} min`,
        value: `${fixed(perIdentityHour, 2)}; longest time without a set ${fixed(longestGapSeconds)} s`,
        target: '<= 2.1',
      })),
      ...spreads.map((spread) => ({
        figure: `AssumeRole calls per identity and hour, all replicas together: ${inWords(spread)}`,
        value: `${fixed(spread.perIdentityHour, 2)}; ${fixed(spread.perIdentityReplicaHour, 2)} for each replica that has the identity's nodes`,
        ...(spread.spread === 'one node' && spread.hasStreams && !spread.isRolledOut ? { target: '<= 2.1' } : {}),
      })),
      {
        figure: `a CronJob's six runs`,
        value: `${cronJob.calls} AssumeRole calls, ${cronJob.served} served`,
        target: '<= 1',
      },
    ],
    data: { renewals, spreads, cronJob },
  };
}

const SIZE = { hours: 24, identities: 20, nodes: 30 };
const QUICK_SIZE = { hours: 12, identities: 8, nodes: 12 };

const SETTINGS: readonly ReplicaSetting[] = [
  ...[1, 3, 5].flatMap((replicas) =>
    (['one node', 'three nodes', 'every node'] as const).map((spread) => ({
      replicas,
      spread,
      hasStreams: true,
      isRolledOut: false,
    })),
  ),
  { replicas: 3, spread: 'one node', hasStreams: true, isRolledOut: true },
  { replicas: 3, spread: 'one node', hasStreams: false, isRolledOut: false },
];

function inWords({ replicas, spread, hasStreams, isRolledOut }: ReplicaSetting): string {
  const how = `${replicas} ${replicas === 1 ? 'replica' : 'replicas'}, pods of an identity on ${spread}`;
  return [how, ...(isRolledOut ? ['one rollout'] : []), ...(hasStreams ? [] : ['agents without streams'])].join(', ');
}

async function measureCronJob(bundles: Setting['bundles']): Promise<{ calls: number; served: number }> {
  const place = await openPlace(bundles);
  try {
    const { world } = place;
    const server = await place.startServer();
    const agent = await place.startAgent(server);
    await pause(500);
    let served = 0;
    for (let run = 0; run < RUNS; run += 1) {
      const name = `job-${run}`;
      const pod = await world.pod({ namespace: 'team', name, role: ROLE });
      for (let attempt = 0; attempt < 20; attempt += 1) {
        const { status } = await ask(agent.port, `${LISTING}${ROLE}`, pod.address);
        if (status !== 200) continue;
        served += 1;
        break;
      }
      world.api.removePod('team', name);
      await pause(BETWEEN_RUNS_MS);
    }
    return { calls: world.sts.calls.list(`${world.roleBaseArn}${ROLE}`).length, served };
  } finally {
    await place.close();
  }
}
