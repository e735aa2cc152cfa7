import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import { askHttp, type Cluster, type Daemon } from '../support/cluster.ts';

import { type Compared, issuedBy, ourAnswer, recordedAnswer } from './answers.ts';
import { type Difference, DIFFERENCES } from './differences.ts';
import { METRICS, type RecordedCase, TRANSCRIPT } from './recorded.ts';
import { startRecordedCluster } from './recorded-cluster.ts';

for (const [what, agentFlags] of [
  ['what the real Kiam answered', []],
  ['what the real Kiam answered, by an agent that asks for each request', ['--node-store=false']],
] as const) {
  describe(what, () => replay(agentFlags));
}

function replay(agentFlags: readonly string[]): void {
  let cluster: Cluster;
  let server: Daemon;
  const agents = new Map<string, Daemon>();
  const used = new Set<Difference>();

  before(async () => {
    cluster = await startRecordedCluster();
    server = await cluster.startServer();
    for (const setting of new Set(TRANSCRIPT.map((recorded) => recorded.setting ?? ''))) {
      const flags = setting === '' ? [] : [`--${setting}`];
      agents.set(setting, await cluster.startAgent(server.port, { flags: [...agentFlags, ...flags] }));
    }
  });

  after(() => cluster.close());

  for (const recorded of TRANSCRIPT) {
    const { name, setting = '', request } = recorded;
    it(`${name}: ${request.method} ${request.path.slice(0, 70)}${setting === '' ? '' : ` with --${setting}`}`, async () => {
      const { from, method, path, headers = {}, body } = request;
      const answer = await askHttp({
        port: agents.get(setting)?.port ?? 0,
        from,
        method,
        path,
        headers,
        ...(body === undefined ? {} : { body }),
      });
      // Who is told to come again was waited for, as long as by Kiam.
      assert.ok(answer.tookMs < (answer.status === 503 ? 6000 : 1000), `it took ${Math.round(answer.tookMs)} ms`);
      assert.deepEqual(simplified(recorded, ourAnswer(issuedBy(cluster.world), answer)), expected(recorded));
    });
  }

  /** What ours is to answer: what Kiam did, but for the differences that apply. */
  function expected(recorded: RecordedCase): Compared {
    let wanted = recordedAnswer(recorded);
    for (const difference of DIFFERENCES.filter(({ applies }) => applies(recorded))) {
      const ours = difference.ours(wanted, recorded);
      if (JSON.stringify(ours) !== JSON.stringify(wanted)) used.add(difference);
      wanted = ours;
    }
    return wanted;
  }

  it('the recording is replayed completely, and every listed difference occurs', (t) => {
    t.diagnostic(`${TRANSCRIPT.length} cases, ${DIFFERENCES.length} deliberate differences`);
    const idle = DIFFERENCES.filter((difference) => !used.has(difference)).map(({ sentence }) => sentence);
    assert.deepEqual(idle, []);
  });

  it('both daemons show the metrics that docs/metrics.md lists and no others, of the same type', async () => {
    const pages = { agent: (await agents.get('')?.metrics()) ?? '', server: await server.metrics() };
    const shown = Object.entries(pages).flatMap(([daemon, page]) =>
      [...page.matchAll(/^# TYPE ((?:kiam|grpc)_\w+) (\w+)$/gm)].map(([, name, type]) => `${daemon} ${name} ${type}`),
    );
    // Without --iptables the agent has no rules to tell of.
    const listed = (await documentedMetrics()).filter((row) => !row.includes('kiam_agent_interception_'));
    assert.deepEqual(listed.toSorted(), shown.toSorted());
  });

  it('both daemons show the metrics that Kiam showed, on the same daemon, of the same type, with the same labels and buckets', async () => {
    const pages = { agent: await agents.get('')?.metrics(), server: await server.metrics() };
    for (const { daemon, name, type, labels, buckets } of METRICS) {
      const page = pages[daemon] ?? '';
      assert.match(page, new RegExp(`^# TYPE ${name} ${type}$`, 'm'), `${name} of the ${daemon}`);
      const series = page
        .split('\n')
        .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name}_bucket{`));
      for (const label of Object.keys(labels)) {
        assert.ok(series.length > 0 && series.every((line) => line.includes(`${label}="`)), `${label} of ${name}`);
      }
      for (const bound of buckets ?? []) {
        assert.ok(page.includes(`${name}_bucket{le="${bound}"`), `bucket ${bound} of ${name}`);
      }
    }
  });
}

/** The rows of docs/metrics.md: daemon, name and type, one for each daemon that shows it. */
async function documentedMetrics(): Promise<string[]> {
  const page = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  const rows = page.matchAll(/^\| `((?:kiam|grpc)_\w+)` \| (\w+) \| ([^|]+) \|/gm);
  return [...rows].flatMap(([, name, type, daemons = '']) =>
    (daemons.match(/\b(?:agent|server)\b/g) ?? []).map((daemon) => `${daemon} ${name} ${type}`),
  );
}

it('docs/differences-from-kiam.md has a sentence for each difference', async () => {
  const page = await readFile(new URL('../../docs/differences-from-kiam.md', import.meta.url), 'utf8');
  for (const { sentence } of DIFFERENCES) assert.ok(page.includes(`- ${sentence}\n`), sentence);
});

/** The one answer that has no recorded counterpart is compared by what it is about. */
function simplified({ name }: RecordedCase, ours: Compared): Compared {
  if (name !== 'blocked iam info' || typeof ours.body !== 'string') return ours;
  const role = /"InstanceProfileArn":"arn:aws:iam::123456789012:instance-profile\/(\w+)"/.exec(ours.body)?.[1];
  return { ...ours, body: `info about the role ${role ?? 'of nobody'}` };
}
