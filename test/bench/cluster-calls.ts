import { type ClusterSetting, type KindFigures, measureClusterCalls } from '../support/cluster-calls.ts';

const NODES = [1000, 5000];
const REPLICAS = [1, 3, 5];
const CRON_JOB_MINUTES = [5, 15, 60];

/** Of so many identities, how many are whose: a few of DaemonSets, about a fifth of CronJobs, the rest of Deployments. */
const WORKLOADS = [
  { daemonSets: 5, deployments: 159, cronJobMinutes: turns(36) },
  { daemonSets: 5, deployments: 1599, cronJobMinutes: turns(396) },
];

/** What is fetched first is not counted. */
const FROM_MINUTE = 60;

interface Measured {
  readonly setting: ClusterSetting;
  readonly kinds: ReadonlyMap<string, KindFigures>;
}

/** Prints AssumeRole calls an hour of whole clusters over `hours` of injected time, and what each thing in a cluster adds to them. */
export async function printClusterCalls(hours: number, say: (text: string) => void): Promise<void> {
  const measured: Measured[] = [];
  say(
    '| nodes | identities | replicas | calls an hour | calls a second | of Deployments | of DaemonSets | of CronJobs |',
  );
  say('|---|---|---|---|---|---|---|---|');
  for (const setting of settings()) {
    const kinds = await measureClusterCalls(setting, { fromMinute: FROM_MINUTE, toMinute: FROM_MINUTE + hours * 60 });
    measured.push({ setting, kinds });
    const anHour = (kind: string): number => sum([{ setting, kinds }], kind).calls / hours;
    const identities = sum([{ setting, kinds }], '').identities;
    const parts = ['deployment', 'daemonset', 'cronjob'].map((kind) => grouped(anHour(kind)));
    const all = [grouped(anHour('')), (anHour('') / 3600).toFixed(2), ...parts];
    say(`| ${[grouped(setting.nodes), grouped(identities), setting.replicas, ...all].join(' | ')} |`);
  }
  say('');
  printSlopes(measured, hours, say);
}

function settings(): readonly ClusterSetting[] {
  return NODES.flatMap((nodes) =>
    WORKLOADS.flatMap((workloads) => REPLICAS.map((replicas) => ({ nodes, replicas, ...workloads }))),
  );
}

function printSlopes(measured: readonly Measured[], hours: number, say: (text: string) => void): void {
  const row = (title: string, figure: (of: readonly Measured[], replicas: number) => number): void => {
    const figures = REPLICAS.map((replicas) => {
      const value = figure(
        measured.filter(({ setting }) => setting.replicas === replicas),
        replicas,
      );
      return value.toFixed(2).replace('-0.00', '0.00');
    });
    say(`| ${[title, ...figures].join(' | ')} |`);
  };
  const perIdentity = (kind: string) => (of: readonly Measured[]) =>
    sum(of, kind).calls / sum(of, kind).identities / hours;
  say(`| one more | ${REPLICAS.map((count) => `${count} ${count === 1 ? 'replica' : 'replicas'}`).join(' | ')} |`);
  say(`|---|${REPLICAS.map(() => '---|').join('')}`);
  row('identity of a Deployment', perIdentity('deployment'));
  row('identity of a DaemonSet', perIdentity('daemonset'));
  row('the same, for each replica that has one of its nodes', (of) => {
    const kinds = [sum(of, 'deployment'), sum(of, 'daemonset')];
    return total(kinds.map(({ calls }) => calls)) / total(kinds.map(({ homes }) => homes)) / hours;
  });
  for (const minutes of CRON_JOB_MINUTES) {
    row(`CronJob with a run every ${minutes} minutes`, perIdentity(`cronjob ${minutes}`));
    row('for each of its runs', (of) => sum(of, `cronjob ${minutes}`).calls / sum(of, `cronjob ${minutes}`).runs);
  }
  row('node, with the same identities', (of) => {
    const [fewer = 0, more = 0] = NODES;
    const callsOf = (nodes: number): number =>
      sum(
        of.filter(({ setting }) => setting.nodes === nodes),
        '',
      ).calls;
    return (callsOf(more) - callsOf(fewer)) / WORKLOADS.length / (more - fewer) / hours;
  });
}

/** The figures of all kinds whose name begins with `kind`, together. */
function sum(measured: readonly Measured[], kind: string): KindFigures {
  const all = measured.flatMap(({ kinds }) => [...kinds].flatMap(([name, of]) => (name.startsWith(kind) ? [of] : [])));
  return {
    identities: total(all.map(({ identities }) => identities)),
    runs: total(all.map(({ runs }) => runs)),
    calls: total(all.map(({ calls }) => calls)),
    homes: total(all.map(({ homes }) => homes)),
  };
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((all, number) => all + number, 0);
}

function turns(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => CRON_JOB_MINUTES[index % CRON_JOB_MINUTES.length] ?? 1);
}

function grouped(number: number): string {
  return Math.round(number).toLocaleString('en-US');
}
