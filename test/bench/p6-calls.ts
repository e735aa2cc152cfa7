import { COMBINATIONS, measureRenewals } from '../support/renewals.ts';
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
  const cronJob = await measureCronJob(bundles);
  return {
    name: 'p6',
    title: 'AssumeRole calls per identity and hour, and for the runs of a CronJob',
    method: [
      `${identities} identities over ${hours} hours of injected time, in the server's cache and the AWS SDK's client before an STS in the same process; the first call of each is counted`,
      `${RUNS} pods with one role, each gone ${fixed(BETWEEN_RUNS_MS)} ms before the next comes, before real daemons`,
    ],
    rows: [
      ...renewals.map(({ askedHours, grantedHours, refreshMinutes, perIdentityHour, longestGapSeconds }) => ({
        figure: `AssumeRole calls per identity and hour: ${askedHours} h asked, ${grantedHours} h granted, refresh ${refreshMinutes} min`,
        value: `${fixed(perIdentityHour, 2)}; longest time without a set ${fixed(longestGapSeconds)} s`,
        target: '<= 2.1',
      })),
      {
        figure: `a CronJob's six runs`,
        value: `${cronJob.calls} AssumeRole calls, ${cronJob.served} served`,
        target: '<= 1',
      },
    ],
    data: { renewals, cronJob },
  };
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
