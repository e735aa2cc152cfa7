import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { classify } from '#export/classify.ts';
import { exportPlan } from '#export/export.ts';
import { exportJson, exportScript } from '#export/render.ts';
import { createWorkloadParser } from '#kubernetes/workload-record.ts';

import {
  ARN,
  FOREIGN,
  IRSA,
  leavingCluster,
  outcomeOf,
  POD_IDENTITY,
  serviceAccount,
  workloadPod,
} from '../../support/leaving-cluster.ts';

const NAMESPACES = [{ name: 'team', permitted: '.*' }];
const KNOWN = { namespaces: NAMESPACES, baseArn: ARN, strict: true, listFormat: 'glob' as const };
const SIZE = 1000;

describe('leaving for EKS Pod Identity or IRSA', () => {
  for (const destination of [POD_IDENTITY, IRSA]) {
    it(`leaving: each of 1,000 pods is classified as it must be, towards ${destination.to}`, () => {
      const { cluster, expected } = leavingCluster(SIZE);
      assert.ok(cluster.pods.length >= SIZE);
      const { pods } = classify(cluster, destination);
      const found = new Map(pods.map((plan) => [`${plan.pod.namespace}/${plan.pod.name}`, outcomeOf(plan)]));
      const wanted = new Map([...expected].map(([pod, of]) => [pod, of[destination.to]]));
      assert.deepEqual([...found].toSorted(), [...wanted].toSorted());
    });

    it(`leaving: no pod gets a role that Kiam does not give it, towards ${destination.to}`, () => {
      const { cluster } = leavingCluster(SIZE);
      const { accounts } = classify(cluster, destination);
      assert.ok(accounts.length > 200);
      for (const { namespace, name, roleArn } of accounts) {
        const members = cluster.pods.filter((pod) => pod.namespace === namespace && pod.serviceAccount === name);
        for (const pod of members.filter(({ phase }) => phase === 'Running')) {
          assert.ok([roleArn, roleArn.slice(ARN.length)].includes(pod.role), `${pod.name} would get ${roleArn}`);
        }
      }
    });
  }

  it('leaving: the ServiceAccounts to be made are one for each role, and no two roles get the same', () => {
    const roles = ['reader', 'a/reader', 'READER', 'r.eader', 'r-eader', `${FOREIGN}reader`, 'x'.repeat(64)];
    const pods = roles.map((role, index) => workloadPod({ name: `pod-${index}`, role, serviceAccount: 'app' }));
    const taken = workloadPod({ name: 'other', serviceAccount: 'app-reader' });
    const { accounts } = classify({ ...KNOWN, pods: [...pods, taken], serviceAccounts: [] }, IRSA);
    const names = accounts.map(({ name }) => name);
    assert.equal(new Set(names).size, roles.length);
    assert.ok(!names.includes('app-reader'), 'it has a pod of its own');
    for (const name of names) assert.match(name, /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])$/);
  });

  it('leaving: roles trust each ServiceAccount in its own namespace, before anything is sent there', () => {
    const pods = [
      workloadPod({ name: 'a', role: 'reader', serviceAccount: 'app', owner: 'deployment/a' }),
      workloadPod({ name: 'b', role: 'reader', serviceAccount: 'web', namespace: 'other' }),
    ];
    const namespaces = [...NAMESPACES, { name: 'other', permitted: '.*' }];
    const cluster = { ...KNOWN, namespaces, pods, serviceAccounts: [] };
    const there = exportPlan(cluster, POD_IDENTITY, false);
    const conditions = there.trusts.flatMap(({ statements }) => statements.map(({ Condition }) => Condition));
    const clusterArn = { 'aws:SourceArn': 'arn:aws:eks:eu-west-1:123456789012:cluster/production' };
    const tags = (namespace: string, name: string) => ({
      'aws:SourceAccount': '123456789012',
      'aws:RequestTag/kubernetes-namespace': namespace,
      'aws:RequestTag/kubernetes-service-account': [name],
    });
    assert.deepEqual(conditions, [
      { StringEquals: tags('other', 'web'), ArnEquals: clusterArn },
      { StringEquals: tags('team', 'app'), ArnEquals: clusterArn },
    ]);
    const script = exportScript(there);
    const order = ['\ntrust reader', 'create-pod-identity-association', 'rollout restart deployment/a'];
    const places = order.map((text) => script.lastIndexOf(text));
    assert.ok(
      places.every((place, index) => place > (places[index - 1] ?? 0)),
      places.join(),
    );
    const back = exportScript(exportPlan(cluster, POD_IDENTITY, true));
    const undo = ['\ndissociate team app', 'rollout restart deployment/a', '\nuntrust reader'];
    const undone = undo.map((text) => back.lastIndexOf(text));
    assert.ok(
      undone.every((place, index) => place > (undone[index - 1] ?? 0)),
      undone.join(),
    );
    const [{ statements } = { statements: [] }] = exportPlan(cluster, IRSA, false).trusts;
    const issuer = 'oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF';
    assert.deepEqual(statements[0]?.Condition, {
      StringEquals: {
        [`${issuer}:aud`]: 'sts.amazonaws.com',
        [`${issuer}:sub`]: ['system:serviceaccount:other:web', 'system:serviceaccount:team:app'],
      },
    });
    assert.deepEqual(statements[0]?.Principal, { Federated: `arn:aws:iam::123456789012:oidc-provider/${issuer}` });
  });

  it('leaving: a role of another account is reached through the intermediate role', () => {
    const intermediateRole = `${ARN}pods`;
    const pods = [workloadPod({ name: 'a', role: `${FOREIGN}reader` })];
    const plan = exportPlan({ ...KNOWN, pods, serviceAccounts: [] }, { ...POD_IDENTITY, intermediateRole }, false);
    const [foreign, own] = plan.trusts;
    assert.deepEqual(foreign?.statements[0]?.Principal, { AWS: intermediateRole });
    assert.deepEqual([own?.name, own?.statements[0]?.Principal], ['pods', { Service: 'pods.eks.amazonaws.com' }]);
    const script = exportScript(plan);
    assert.match(script, /--role-arn \S+:role\/pods --target-role-arn arn:aws:iam::999999999999:role\/reader /);
    assert.match(script, /^trust reader \S+ --profile account-999999999999$/m);
    assert.match(script, /^aws iam put-role-policy --role-name pods /m);
  });

  it('leaving: a ServiceAccount that names its role already is left as it is', () => {
    const pods = [workloadPod({ name: 'a', role: 'reader' })];
    const serviceAccounts = [serviceAccount({ name: 'default', eksRole: `${ARN}reader` })];
    const script = exportScript(exportPlan({ ...KNOWN, pods, serviceAccounts }, IRSA, false));
    assert.doesNotMatch(script, /kubectl (annotate|label)/);
  });

  it('leaving: text of foreign making is no command, ends no comment and reaches no terminal', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'kiam-export-'));
    t.after(() => rmSync(folder, { recursive: true }));
    for (const name of ['aws', 'kubectl', 'jq']) writeFileSync(join(folder, name), '#!/bin/sh\n', { mode: 0o755 });
    const evil = "x'; touch evil\ntouch evil\n$(touch evil)`touch evil`\nEOF\ntouch evil\u001b[31m\u202e";
    const pods = [
      workloadPod({ name: evil, role: 'reader', serviceAccount: evil, owner: `deployment/${evil}` }),
      workloadPod({ name: `${evil}2`, role: `reader${evil}`, externalId: evil }),
      workloadPod({ name: 'b', role: 'reader', serviceAccount: 'b', hostNetwork: true, namespace: evil }),
    ];
    const namespaces = [...NAMESPACES, { name: evil, permitted: '.*' }];
    for (const [destination, undo] of [
      [IRSA, false],
      [POD_IDENTITY, false],
      [POD_IDENTITY, true],
    ] as const) {
      const plan = exportPlan({ ...KNOWN, namespaces, pods, serviceAccounts: [] }, destination, undo);
      const script = exportScript(plan);
      assert.ok(script.includes('touch evil'));
      const env = { PATH: `${folder}:/usr/bin:/bin`, KIAM_EXPORT_WAIT: '0' };
      const ran = spawnSync('sh', ['-s'], { input: script, cwd: folder, env, encoding: 'utf8' });
      assert.equal(ran.status, destination.to === 'irsa' || undo ? 0 : 1, ran.stderr);
      const made = readdirSync(folder, { recursive: true, encoding: 'utf8' });
      assert.deepEqual(
        made.filter((name) => name.endsWith('evil')),
        [],
      );
      // oxlint-disable-next-line no-control-regex -- that is what must not be there
      assert.doesNotMatch(exportJson(plan), /[^\n\x20-\x7e]/);
    }
  });

  it('leaving: what owns a pod, and on what it runs, is read from the API', () => {
    const parse = createWorkloadParser();
    const read = (labels: object, spec: object, owner?: object) => {
      const ownerReferences = owner === undefined ? [] : [{ controller: true, ...owner }];
      const pod = parse({ metadata: { uid: 'u', name: 'n', namespace: 'team', labels, ownerReferences }, spec });
      return [pod?.owner, pod?.fargate, pod?.windows];
    };
    const hash = { 'pod-template-hash': '7d9' };
    assert.deepEqual(read(hash, {}, { kind: 'ReplicaSet', name: 'web-7d9' }), ['deployment/web', false, false]);
    assert.deepEqual(read({}, {}, { kind: 'ReplicaSet', name: 'web-7d9' }), ['', false, false]);
    assert.deepEqual(read({}, {}, { kind: 'StatefulSet', name: 'db' }), ['statefulset/db', false, false]);
    assert.deepEqual(read({}, {}, { kind: 'Job', name: 'j' }), ['', false, false]);
    assert.deepEqual(read({ 'eks.amazonaws.com/fargate-profile': 'p' }, {}), ['', true, false]);
    assert.deepEqual(read({}, { os: { name: 'windows' } }), ['', false, true]);
    assert.deepEqual(read({}, { nodeSelector: { 'kubernetes.io/os': 'windows' } }), ['', false, true]);
  });
});
