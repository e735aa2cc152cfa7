import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { PERMITTED_ANNOTATION } from '#domain/namespace.ts';
import { ROLE_ANNOTATION } from '#domain/pod.ts';

import { type Answer, askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { diagnose, type Diagnosis, wrongOf } from '../support/doctor.ts';
import { eventually } from '../support/eventually.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { findAssets } from './find-assets.ts';
import { type RunningPod, runPod, runPods, serviceAccountToken } from './pods.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const KIAM = fileURLToPath(new URL('../../src/bin/kiam.ts', import.meta.url));
const KUBE_SYSTEM = 'kube-system';
const MANY_PODS = 10_000;
const LIMIT_MS = 30_000;
const MEBIBYTE = 2 ** 20;

const assets = findAssets();

interface Explained {
  readonly code: number | null;
  readonly headline: string;
  /** The verdict of each link and its name. */
  readonly marks: readonly string[];
  readonly text: string;
}

describe(
  'the daemons, before the API server of Kubernetes and with the rights of the manifests',
  { skip: assets.skip },
  () => {
    let plane: ControlPlane;
    let cluster: Cluster;
    let kubeconfig: string;
    let tokenFile: string;
    let adminSocket: string;
    let server: Daemon;
    let agent: Daemon;

    const startServer = (...flags: readonly string[]): Promise<Daemon> =>
      cluster.startServer({
        flags,
        exactly: [
          'server',
          '--json-log',
          '--level=info',
          '--bind=127.0.0.1:0',
          '--prometheus-listen-addr=127.0.0.1:0',
          `--kubeconfig=${kubeconfig}`,
          `--role-base-arn=${cluster.world.roleBaseArn}`,
          '--agent-identity=token',
          ...cluster.tlsFlags('server'),
        ],
      });
    const pod = (namespace: string, name: string, address: string): Promise<RunningPod> =>
      runPod(plane.admin, { namespace, name, address, role: name });
    const ask = ({ address }: { address: string }, role: string, of = agent): Promise<Answer> =>
      askHttp({ port: of.port, from: address, path: `${LISTING}${role}` });
    const serves = async (asked: RunningPod, role: string): Promise<void> => {
      await eventually(
        `${asked.name} has the role ${role}`,
        LIMIT_MS,
        async () => (await ask(asked, role)).status === 200,
      );
    };
    const metric = async (of: Daemon, name: RegExp): Promise<number> =>
      Number(new RegExp(`^${name.source} (\\S+)$`, 'm').exec(await of.metrics())?.[1] ?? 0);
    const podsOf = (of: Daemon): Promise<number> => metric(of, /kiam_k8s_objects\{resource="pods"\}/);

    before(async () => {
      if (assets.skip !== false) return;
      plane = await startControlPlane(assets.folder);
      cluster = await startCluster();
      const env = { PATH: assets.path, HOME: plane.folder, KUBECONFIG: plane.adminKubeconfig };
      await promisify(execFile)('kubectl', ['apply', '-f', 'deploy/'], { cwd: ROOT, env });
      await plane.admin.demand('POST', '/api/v1/namespaces', {
        metadata: { name: 'team', annotations: { [PERMITTED_ANNOTATION]: '.*' } },
      });
      const account = await serviceAccountToken(plane.admin, { namespace: KUBE_SYSTEM, name: 'kiam-server' });
      kubeconfig = await plane.kubeconfigOf('kiam-server', account);
      const own = await runPod(plane.admin, {
        namespace: KUBE_SYSTEM,
        name: 'kiam-agent',
        address: '127.0.0.1',
        hostNetwork: true,
        serviceAccountName: 'kiam-agent',
      });
      tokenFile = join(plane.folder, 'agent-token');
      const wanted = { namespace: KUBE_SYSTEM, name: 'kiam-agent', audience: 'kiam-server', pod: own };
      await writeFile(tokenFile, await serviceAccountToken(plane.admin, wanted));
      adminSocket = join(plane.folder, 'admin.sock');
      server = await startServer(`--admin-socket=${adminSocket}`);
      agent = await cluster.startAgent(server.port, { flags: [`--agent-token-file=${tokenFile}`] });
    });
    after(async () => {
      await cluster?.close();
      await plane?.stop();
    });

    it('list and watch: a new pod has its role, another when it is annotated with it, and none when it is gone', async () => {
      const reader = await pod('team', 'reader', '127.1.0.1');
      await serves(reader, 'reader');
      await plane.admin.demand('PATCH', '/api/v1/namespaces/team/pods/reader', {
        metadata: { annotations: { [ROLE_ANNOTATION]: 'writer' } },
      });
      await serves(reader, 'writer');
      assert.equal((await ask(reader, 'reader')).status, 403);
      await plane.admin.demand('DELETE', '/api/v1/namespaces/team/pods/reader?gracePeriodSeconds=0');
      await eventually('the pod is forgotten', LIMIT_MS, async () => (await ask(reader, 'writer')).status === 503);
    });

    it('TokenReview: an agent is answered by its pod’s token, and one without or with a token for others is not', async () => {
      const proven = await pod('team', 'proven', '127.1.0.2');
      await serves(proven, 'proven');
      const wrong = join(plane.folder, 'wrong-token');
      await writeFile(wrong, await serviceAccountToken(plane.admin, { namespace: KUBE_SYSTEM, name: 'kiam-agent' }));
      for (const flags of [[], [`--agent-token-file=${wrong}`]]) {
        const other = await cluster.startAgent(server.port, { flags });
        const answer = await ask(proven, 'proven', other);
        assert.deepEqual([answer.status, answer.body.trim()], [403, 'error fetching credentials: forbidden by policy']);
        await other.child.stop();
      }
      await server.child.line(/an agent calls without a token: refused by --agent-identity=token/);
    });

    it('Events: a refused role is told on the pod', async () => {
      const refused = await pod('default', 'refused', '127.1.0.3');
      await eventually('the policy says no', LIMIT_MS, async () => (await ask(refused, 'refused')).status === 403);
      await eventually('the Event is there', LIMIT_MS, async () => {
        const { items } = await plane.admin.demand('GET', '/api/v1/namespaces/default/events');
        return items.some(
          (event: { reason: string; involvedObject: { uid: string } }) =>
            event.reason === 'KiamRoleForbidden' && event.involvedObject.uid === refused.uid,
        );
      });
    });

    it('doctor: tells what is wrong with the pods there are, and what the server may no longer do', async () => {
      const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/kiam-server';
      const metrics = /:(\d+)"/.exec(await server.child.line(/"msg":"metrics: listening"/))?.[1] ?? '';
      const run = (...args: readonly string[]): Promise<Diagnosis> =>
        diagnose({ program: KIAM, args, environment: cluster.world.environment.server });
      const atServer = (): Promise<Diagnosis> =>
        run(
          'server',
          `--kubeconfig=${kubeconfig}`,
          `--role-base-arn=${cluster.world.roleBaseArn}`,
          '--agent-identity=token',
          `--prometheus-listen-addr=127.0.0.1:${metrics}`,
          ...cluster.tlsFlags('server'),
        );
      const refused = `namespaces: default has no annotation ${PERMITTED_ANNOTATION}, so that its pods get nothing: refused`;
      const sound = await atServer();
      assert.deepEqual(wrongOf(sound), [refused], sound.text);

      const { rules } = await plane.admin.demand('GET', role);
      await plane.admin.demand('PATCH', role, { rules: rules.slice(0, 1) });
      const poorer = [
        'access: RBAC does not allow us to create events',
        'access: RBAC does not allow us to patch events',
        'access: RBAC does not allow us to create tokenreviews.authentication.k8s.io',
        refused,
      ];
      // The API server's own view of roles follows by a watch.
      await eventually('the doctor misses what was taken away', LIMIT_MS, async () => {
        const wrong = wrongOf(await atServer());
        return wrong.length === poorer.length && wrong.every((line, index) => line.startsWith(poorer[index] ?? '-'));
      });
      await plane.admin.demand('PATCH', role, { rules });

      const kiam = await run(
        '--compare-kiam',
        `--kubeconfig=${plane.adminKubeconfig}`,
        `--role-base-arn=${cluster.world.roleBaseArn}`,
      );
      assert.deepEqual(wrongOf(kiam), []);
      assert.equal(kiam.code, 0, kiam.text);
    });

    describe('explain', () => {
      let permitted: RunningPod;
      const explain = async (pod: string, ...from: readonly string[]): Promise<Explained> => {
        const { code, lines } = await cluster.run(['explain', pod, ...from]);
        const marks = lines.flatMap((line) => /^ {2}(ok|NO|--|\?\?) {2}(\w+)/.exec(line)?.slice(1).join(' ') ?? []);
        return { code, headline: lines[0] ?? '', marks, text: lines.join('\n') };
      };
      const byServer = (pod: string): Promise<Explained> => explain(pod, `--admin-socket=${adminSocket}`);
      const byApi = (pod: string, as = kubeconfig): Promise<Explained> =>
        explain(pod, `--kubeconfig=${as}`, `--role-base-arn=${cluster.world.roleBaseArn}`);

      before(async () => {
        permitted = await pod('team', 'explained', '127.1.0.6');
        await serves(permitted, 'explained');
      });

      it('a permitted pod: the server tells of the credentials that the agent gives out, the API alone of the permission', async () => {
        const roleArn = `${cluster.world.roleBaseArn}explained`;
        await eventually('the server has told the agent', LIMIT_MS, async () =>
          (await byServer('team/explained')).text.includes('told of the pod and these credentials'),
        );
        const running = await byServer('team/explained');
        assert.deepEqual([running.code, running.headline], [0, `team/explained gets credentials: ${roleArn}`]);
        // Whether the address is confirmed depends on whether the agent was told of the pod before the pod asked.
        assert.deepEqual(
          running.marks.filter((mark) => !mark.endsWith(' confirmed')),
          ['ok view', 'ok pod', 'ok address', 'ok role', 'ok policy', 'ok session', 'ok credentials', 'ok agent'],
          running.text,
        );
        const { Expiration } = JSON.parse((await ask(permitted, 'explained')).body);
        assert.match(Expiration, /^\d{4}-.*Z$/);
        assert.ok(running.text.includes(`until ${Expiration};`), running.text);
        assert.match(running.text, /whose node is proven by its token/);

        const alone = await byApi('team/explained');
        assert.deepEqual([alone.code, alone.headline], [0, `team/explained is permitted its role: ${roleArn}`]);
        assert.deepEqual(alone.marks, ['ok pod', 'ok address', 'ok role', 'ok policy', 'ok session'], alone.text);
      });

      it('a pod that is refused: both name the policy', async () => {
        const policy = "namespace policy expression '(empty)' forbids role 'refused'";
        assert.equal((await ask({ address: '127.1.0.3' }, 'refused')).status, 403);
        for (const { code, headline } of [await byServer('default/refused'), await byApi('default/refused')]) {
          assert.deepEqual([code, headline], [0, `default/refused gets nothing: ${policy}`]);
        }
      });

      it('two pods with one address: both name the other, and neither is served', async () => {
        for (const name of ['twin', 'other-twin']) await pod('team', name, '127.1.0.7');
        const shared = '127.1.0.7 is claimed by team/other-twin as well: multiple running pods found';
        await eventually('the server knows both', LIMIT_MS, async () =>
          (await byServer('team/twin')).text.includes('is claimed by'),
        );
        for (const { code, headline } of [await byServer('team/twin'), await byApi('team/twin')]) {
          assert.deepEqual([code, headline], [0, `team/twin gets nothing: ${shared}`]);
        }
        assert.equal((await ask({ address: '127.1.0.7' }, 'twin')).status, 503);
      });

      it('no such pod: both say so and exit 1', async () => {
        const [running, alone] = [await byServer('team/nobody'), await byApi('team/nobody')];
        assert.deepEqual(
          [running.code, running.headline],
          [1, 'team/nobody gets nothing: this server knows no such pod'],
        );
        assert.deepEqual(
          [alone.code, alone.headline],
          [1, 'team/nobody gets nothing: the API server knows no such pod'],
        );
      });

      it('who may not read pods is told just that: the agent’s account', async () => {
        const token = await serviceAccountToken(plane.admin, { namespace: KUBE_SYSTEM, name: 'kiam-agent' });
        const { code, text } = await byApi('team/explained', await plane.kubeconfigOf('kiam-agent', token));
        const account = `system:serviceaccount:${KUBE_SYSTEM}:kiam-agent`;
        assert.equal(code, 1);
        assert.ok(
          text.startsWith(`kiam: the pod cannot be read: 403 pods "explained" is forbidden: User "${account}"`),
          text,
        );
      });
    });

    it('the server was forbidden nothing of what these tests made it do', () => {
      const forbidden = server
        .log()
        .filter((line) => /forbid|403/i.test(JSON.stringify([line['error'], line['status']])));
      assert.deepEqual(
        forbidden.filter((line) => line['pod.name'] !== 'refused'),
        [],
      );
    });

    it('410: a server that missed what etcd has compacted lists again, and then knows what happened meanwhile', async () => {
      const expired = /kiam_k8s_relists_total\{resource="pods",reason="expired"\}/;
      assert.equal(await metric(server, expired), 0);
      // The server sleeps through all of it: the pods, the compaction of their history, and the API server's new life.
      server.child.process.kill('SIGSTOP');
      const missed: RunningPod[] = [];
      for (const index of [1, 2, 3]) missed.push(await pod('team', `missed-${index}`, `127.1.1.${index}`));
      await plane.compacted();
      await plane.restartApiServer();
      server.child.process.kill('SIGCONT');
      for (const one of missed) await serves(one, one.name);
      assert.equal(await metric(server, expired), 1, await server.metrics());
    });

    it('a restart of the API server: pods that were known go on, and new ones are known after it', async () => {
      const known = await pod('team', 'known', '127.1.0.4');
      await serves(known, 'known');
      const back = new AbortController();
      const restarted = plane.restartApiServer().finally(() => back.abort());
      let asked = 0;
      for (; !back.signal.aborted; asked += 1) {
        assert.equal((await ask(known, 'known')).status, 200);
        // One pod may ask a hundred times a second.
        await new Promise((resolve) => {
          setTimeout(resolve, 20);
        });
      }
      await restarted;
      assert.ok(asked > 10);
      const fresh = await pod('team', 'fresh', '127.1.0.5');
      await serves(fresh, 'fresh');
      await eventually('the server is ready', LIMIT_MS, async () => (await server.readiness()).status === 200);
    });

    it(
      `${MANY_PODS} pods: all are known as they come, and to a server that starts then`,
      { timeout: 600_000 },
      async (t) => {
        const seconds = (sinceMs: number): string => ((performance.now() - sinceMs) / 1000).toFixed(1);
        const madeMs = performance.now();
        await runPods(plane.admin, 'team', MANY_PODS);
        t.diagnostic(`${MANY_PODS} pods were made in ${seconds(madeMs)} s`);
        await eventually('all pods are known', LIMIT_MS, async () => (await podsOf(server)) >= MANY_PODS);

        const startedMs = performance.now();
        const late = await startServer();
        await eventually('the late server knows all', LIMIT_MS, async () => (await podsOf(late)) >= MANY_PODS);
        await eventually('it is ready', LIMIT_MS, async () => (await late.readiness()).status === 200);
        const residentBytes = await metric(late, /process_resident_memory_bytes/);
        t.diagnostic(
          `a server knew them ${seconds(startedMs)} s after its start, in ${(residentBytes / MEBIBYTE).toFixed(0)} MiB`,
        );
        const lateAgent = await cluster.startAgent(late.port, { flags: [`--agent-token-file=${tokenFile}`] });
        for (const index of [0, 4_999, MANY_PODS - 1]) {
          const address = `127.2.${index >> 8}.${index & 255}`;
          const isServed = async (): Promise<boolean> =>
            (await ask({ address }, `role-${index % 100}`, lateAgent)).status === 200;
          await eventually(`pod ${index} has its role`, LIMIT_MS, isServed);
        }
      },
    );
  },
);
