import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import { type Child, startChild } from '#sandbox/child.ts';

import { askHttp, type Cluster, FROM_SOURCES, LISTING } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

import { HAPPENINGS, type Happening } from './happenings.ts';
import { startRecordedCluster } from './recorded-cluster.ts';

const USER = 'arn:aws:iam::123456789012:user/kiam';
const ROLE = 'arn:aws:iam::123456789012:role/';

/** Who asks for what, how often; and the Event that Kiam was recorded to make of it. */
const QUESTIONS: readonly {
  readonly pod: string;
  readonly from: string;
  readonly role: string;
  readonly times?: number;
  readonly event?: { readonly namespace: string; readonly reason: string; readonly message: string };
}[] = [
  { pod: 'reader', from: '127.0.1.1', role: '' },
  { pod: 'no-role', from: '127.0.1.2', role: '' },
  { pod: 'external', from: '127.0.1.14', role: 'external-role' },
  { pod: 'nobody', from: '127.0.9.9', role: '' },
  {
    pod: 'reader',
    from: '127.0.1.1',
    role: 'writer',
    times: 3,
    event: {
      namespace: 'open',
      reason: 'KiamRoleForbidden',
      message: `failed assuming role "writer": requested 'writer' but annotated with 'reader', forbidden`,
    },
  },
  {
    pod: 'closed-pod',
    from: '127.0.1.4',
    role: 'reader',
    event: {
      namespace: 'closed',
      reason: 'KiamRoleForbidden',
      message: `failed assuming role "reader": namespace policy expression '(empty)' forbids role 'reader'`,
    },
  },
  {
    pod: 'strict-no',
    from: '127.0.1.7',
    role: 'reader-admin',
    event: {
      namespace: 'strict',
      reason: 'KiamRoleForbidden',
      message: `failed assuming role "reader-admin": namespace policy expression '${ROLE}reader' forbids role '${ROLE}reader-admin'`,
    },
  },
  {
    pod: 'full-arn',
    from: '127.0.1.11',
    role: 'other-account',
    event: {
      namespace: 'open',
      reason: 'KiamRoleForbidden',
      message: `failed assuming role "other-account": requested 'other-account' but annotated with 'other-account', forbidden`,
    },
  },
  {
    pod: 'sts-denied',
    from: '127.0.1.23',
    role: 'denied-by-sts',
    event: {
      namespace: 'open',
      reason: 'KiamCredentialError',
      message: `failed retrieving credentials: AccessDenied: User: ${USER} is not authorized to perform: sts:AssumeRole on resource: ${ROLE}denied-by-sts`,
    },
  },
  {
    pod: 'sts-throttled',
    from: '127.0.1.24',
    role: 'throttled-by-sts',
    event: {
      namespace: 'open',
      reason: 'KiamCredentialError',
      message: 'failed retrieving credentials: Throttling: Rate exceeded',
    },
  },
  {
    pod: 'sts-error',
    from: '127.0.1.25',
    role: 'error-by-sts',
    event: {
      namespace: 'open',
      reason: 'KiamCredentialError',
      message: 'failed retrieving credentials: InternalFailure: internal',
    },
  },
];

/** For so long the agent itself repeats a refusal; then the server is asked again, and counts. */
const REPEATED_FOR_MS = 3100;

for (const form of ['JSON', 'text'] as const) {
  describe(`what happens is told as by Kiam, in ${form}`, () => {
    let cluster: Cluster;
    const daemons: { server?: Child; agent?: Child } = {};

    before(async () => {
      cluster = await startRecordedCluster();
      const { world } = cluster;
      const start = (
        command: 'server' | 'agent',
        flags: readonly string[],
        environment: Readonly<Record<string, string>>,
      ) =>
        startChild({
          name: command,
          argv: [
            ...FROM_SOURCES[command],
            command,
            '--level=debug',
            ...(form === 'JSON' ? ['--json-log'] : []),
            ...flags,
            ...cluster.tlsFlags(command),
          ],
          environment,
        });
      daemons.server = start(
        'server',
        ['--bind=127.0.0.1:0', `--kubeconfig=${world.kubeconfigs.server}`, `--role-base-arn=${world.roleBaseArn}`],
        world.environment.server,
      );
      const serverPort = portIn(await daemons.server.line(/will serve on/));
      daemons.agent = start(
        'agent',
        [
          '--port=0',
          '--host=127.0.0.1',
          `--server-address=localhost:${serverPort}`,
          `--metadata-endpoint=${world.metadata.url}`,
        ],
        world.environment.clean,
      );
      const port = portIn(await daemons.agent.line(/msg"?[:=]"?listening/));
      for (const { from, role, times = 1 } of QUESTIONS) {
        for (let time = 0; time < times; time += 1) {
          if (time > 0) await new Promise((resolve) => setTimeout(resolve, REPEATED_FOR_MS));
          await askHttp({ port, from, path: `${LISTING}${role}` });
        }
      }
    });

    after(async () => {
      await Promise.all(Object.values(daemons).map((child) => child.stop('SIGKILL')));
      await cluster.close();
    });

    for (const happening of HAPPENINGS) {
      it(`${happening.daemon}: ${happening.what}`, async () => {
        const read = form === 'JSON' ? readJson : readLogfmt;
        const find = (): Line | undefined =>
          daemons[happening.daemon]?.lines.map(read).find((line) => tells(line, happening));
        await eventually(JSON.stringify(happening.ours), 10_000, () => find() !== undefined);
        const line = find() ?? {};
        assert.equal(line['level'], happening.difference?.level ?? happening.level);
        assert.match(String(line['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
        const missing = happening.fields.filter((name) => !(name in line));
        assert.deepEqual(missing, happening.difference?.without ?? []);
      });
    }

    it('each Event has Kiam’s form, and a repeated one is counted up by a patch', async () => {
      const { api } = cluster.world;
      const wanted = QUESTIONS.flatMap(({ pod, event, times = 1 }) =>
        event === undefined ? [] : [{ pod, times, ...event }],
      );
      await eventually('all Events have come', 10_000, () => {
        const count = api.events().reduce((sum, event) => sum + Number(event['count']), 0);
        return count >= wanted.reduce((sum, { times }) => sum + times, 0);
      });
      const events = api.events() as unknown as readonly Event[];
      assert.equal(events.length, wanted.length);
      for (const { pod, namespace, reason, message, times } of wanted) {
        const found = events.find((event) => event.involvedObject['name'] === pod && event.message === message);
        assert.ok(found !== undefined, message);
        const { metadata, involvedObject, source, type, count, firstTimestamp, lastTimestamp } = found;
        const stored = api.pod(namespace, pod)?.['metadata'] as { uid: string; resourceVersion: string };
        assert.deepEqual(
          { namespace: metadata.namespace, reason: found.reason, source, type, count },
          { namespace, reason, source: { component: 'kiam.server' }, type: 'Warning', count: times },
        );
        assert.deepEqual(involvedObject, {
          kind: 'Pod',
          apiVersion: 'v1',
          namespace,
          name: pod,
          uid: stored.uid,
          resourceVersion: stored.resourceVersion,
        });
        assert.match(metadata.name, new RegExp(`^${pod}\\.[0-9a-f]{16}$`));
        assert.match(firstTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
        if (times === 1) assert.equal(firstTimestamp, lastTimestamp);
        assert.ok((found.reportingComponent ?? '') === '');
      }
      assert.equal(api.controls.requests('create', 'events'), wanted.length);
      assert.ok(api.controls.requests('patch', 'events') >= 1);
    });

    it('no line has a secret', () => {
      const text = Object.values(daemons)
        .flatMap(({ lines }) => lines)
        .join('\n');
      assert.ok(!text.includes('ext-42'));
      assert.doesNotMatch(text, /SecretAccessKey|BEGIN/);
    });
  });
}

it('docs/differences-from-kiam.md has a sentence for each difference of the logs', async () => {
  const page = await readFile(new URL('../../docs/differences-from-kiam.md', import.meta.url), 'utf8');
  for (const { difference } of HAPPENINGS) {
    if (difference !== undefined) assert.ok(page.includes(`- ${difference.sentence}\n`), difference.sentence);
  }
});

type Line = Readonly<Record<string, unknown>>;

interface Event {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly involvedObject: Readonly<Record<string, string>>;
  readonly source: object;
  readonly reason: string;
  readonly message: string;
  readonly type: string;
  readonly count: number;
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
  readonly reportingComponent?: string;
}

function tells(line: Line, { ours }: Happening): boolean {
  return Object.entries(ours).every(([name, value]) => String(line[name]) === String(value));
}

function readJson(line: string): Line {
  return JSON.parse(line) as Line;
}

/** As a pipeline reads what logrus writes: `time="…" level=… msg=…` first, then fields; quoted as Go quotes. */
function readLogfmt(line: string): Line {
  assert.match(line, /^time="[^"]+" level=(debug|info|warning|error|fatal) msg=/);
  const pairs = line.matchAll(/([^\s=]+)=("(?:[^"\\]|\\.)*"|\S*)/g);
  return Object.fromEntries(
    Array.from(pairs, ([, name = '', value = '']) => [
      name,
      value.startsWith('"') ? (JSON.parse(value) as string) : value,
    ]),
  );
}

function portIn(line: string): number {
  return Number(/:(\d+)"/.exec(line)?.[1]);
}
