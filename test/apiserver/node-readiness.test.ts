import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { CONDITION_TYPE, type NodeReport, STARTUP_TAINT } from '#domain/node-readiness.ts';
import { createConnection } from '#kubernetes/connection.ts';
import { createKubernetesMetrics } from '#kubernetes/metrics.ts';
import { followNodes } from '#kubernetes/nodes.ts';
import { systemClock } from '#runtime/clock.ts';
import { isJsonObject, type Json, type JsonObject, listAt, textAt } from '#sandbox/json.ts';
import { NodeReports } from '#server/node-reports.ts';
import { NodeReadiness } from '#server/readiness/node-readiness.ts';
import { createRegistry } from '#telemetry/registry.ts';

import type { ApiClient } from '../support/api-client.ts';
import { eventually } from '../support/eventually.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { findAssets } from './find-assets.ts';
import { serviceAccountToken } from './pods.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const LIMIT_MS = 60_000;
const assets = findAssets();

const TAINT = { key: STARTUP_TAINT, effect: 'NoSchedule' };
const OTHER = { key: 'example.com/other', value: 'yes', effect: 'NoSchedule' };
const READY: NodeReport = { ready: true, reason: 'AgentReady', message: 'all is well' };
const PATH = '/api/v1/nodes/node-a';

describe('deploy/startup-taint, before the API server of Kubernetes', { skip: assets.skip }, () => {
  let plane: ControlPlane;
  let server: ApiClient;
  let kubeconfig: string;

  before(async () => {
    if (assets.skip !== false) return;
    plane = await startControlPlane(assets.folder);
    const env = { PATH: assets.path, HOME: plane.folder, KUBECONFIG: plane.adminKubeconfig };
    const apply = ['apply', '--validate=strict', '-k', 'deploy/startup-taint'];
    await promisify(execFile)('kubectl', apply, { cwd: ROOT, env });
    const token = await serviceAccountToken(plane.admin, { namespace: 'kube-system', name: 'kiam-server' });
    server = plane.as(token);
    kubeconfig = await plane.kubeconfigOf('kiam-server', token);
    await plane.admin.demand('POST', '/api/v1/nodes', {
      metadata: { name: 'node-a', labels: { role: 'worker' }, annotations: { note: 'one' } },
      spec: { taints: [OTHER, TAINT], providerID: 'aws:///eu-west-1a/i-1' },
    });
    await patch(plane.admin, `${PATH}/status`, STRATEGIC, {
      status: {
        conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }],
        addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
        images: [{ names: ['one'], sizeBytes: 1 }],
      },
    });
    // The policy is in force a moment after it was made.
    await eventually('the policy is in force', LIMIT_MS, async () => {
      const { status } = await patch(server, PATH, MERGE, { metadata: { labels: { probe: 'x' } } }, '?dryRun=All');
      return status === 403;
    });
  });
  after(() => plane?.stop());

  const MERGE = 'merge-patch';
  const STRATEGIC = 'strategic-merge-patch';
  const JSON_PATCH = 'json-patch';
  const patch = async (by: ApiClient, path: string, type: string, body: Json, query = '') => {
    const headers = { 'content-type': `application/${type}+json` };
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a JSON patch is a list, and the client's type knows objects only
    return by.call('PATCH', `${path}${query}`, { body: body as JsonObject, headers });
  };
  const node = async (): Promise<JsonObject> => {
    const { body } = await plane.admin.ask('GET', PATH);
    return isJsonObject(body) ? body : {};
  };
  const taintsOf = (object: JsonObject): readonly string[] =>
    listAt(object, 'spec', 'taints').map((taint) => textAt(taint, 'key'));
  const conditionOf = (object: JsonObject): string => {
    const found = listAt(object, 'status', 'conditions').find((entry) => textAt(entry, 'type') === CONDITION_TYPE);
    return `${textAt(found, 'status')} ${textAt(found, 'reason')}`;
  };
  const condition = (type: string): JsonObject => ({ type, status: 'True', reason: 'Test', message: 'test' });
  const taints = (...list: readonly Json[]): JsonObject => ({ spec: { taints: list } });

  const REFUSED: readonly (readonly [what: string, path: string, type: string, body: Json])[] = [
    ['adds a label', PATH, MERGE, { metadata: { labels: { a: 'b' } } }],
    ['changes a label', PATH, MERGE, { metadata: { labels: { role: 'control-plane' } } }],
    ['removes an annotation', PATH, MERGE, { metadata: { annotations: null } }],
    ['adds a finalizer', PATH, MERGE, { metadata: { finalizers: ['example.com/x'] } }],
    ['cordons it', PATH, MERGE, { spec: { unschedulable: true } }],
    ['gives it pod addresses', PATH, MERGE, { spec: { podCIDR: '10.1.0.0/24', podCIDRs: ['10.1.0.0/24'] } }],
    ['takes another taint off', PATH, MERGE, taints(TAINT)],
    ['takes all taints off', PATH, MERGE, taints()],
    ['takes off the start-up taint and another', PATH, JSON_PATCH, [{ op: 'remove', path: '/spec/taints' }]],
    ['puts a taint on', PATH, MERGE, taints(OTHER, TAINT, { key: 'example.com/new', effect: 'NoExecute' })],
    ['changes a taint', PATH, MERGE, taints({ ...OTHER, effect: 'NoExecute' }, TAINT)],
    ['changes the effect of the start-up taint', PATH, MERGE, taints(OTHER, { ...TAINT, effect: 'NoExecute' })],
    ['adds a label by the status', `${PATH}/status`, MERGE, { metadata: { labels: { a: 'b' } } }],
    ['changes the condition Ready', `${PATH}/status`, STRATEGIC, { status: { conditions: [condition('Ready')] } }],
    ['adds another condition', `${PATH}/status`, STRATEGIC, { status: { conditions: [condition('Other')] } }],
    ['takes conditions away', `${PATH}/status`, MERGE, { status: { conditions: [condition(CONDITION_TYPE)] } }],
    [
      'changes addresses',
      `${PATH}/status`,
      MERGE,
      { status: { addresses: [{ type: 'InternalIP', address: '192.0.2.9' }] } },
    ],
    ['takes images away', `${PATH}/status`, MERGE, { status: { images: null } }],
    ['adds capacity', `${PATH}/status`, MERGE, { status: { capacity: { cpu: '8' } } }],
  ];
  for (const [what, path, type, body] of REFUSED) {
    it(`kiam-server is refused where it ${what}`, async () => {
      const before = await node();
      const { status, body: answer } = await patch(server, path, type, body);
      assert.equal(status, 403, JSON.stringify(answer));
      assert.match(textAt(answer, 'message'), /ValidatingAdmissionPolicy 'kiam-server-nodes'.*kiam-server/);
      assert.equal(textAt(await node(), 'metadata', 'resourceVersion'), textAt(before, 'metadata', 'resourceVersion'));
      // Whoever else may patch Nodes is not concerned.
      const { status: asAdmin } = await patch(plane.admin, path, type, body, '?dryRun=All');
      assert.equal(asAdmin, 200);
    });
  }

  it('kiam-server may neither make nor delete a Node, nor read more than Nodes', async () => {
    const made = await server.ask('POST', '/api/v1/nodes', { metadata: { name: 'node-b' } });
    const deleted = await server.ask('DELETE', PATH);
    const secrets = await server.ask('GET', '/api/v1/secrets');
    assert.deepEqual([made.status, deleted.status, secrets.status], [403, 403, 403]);
  });

  it('kiam-server, as it is, writes its condition and takes its taint off, again for 30 seconds, and changes nothing else', async () => {
    const before = await node();
    const stop = new AbortController();
    const { logger, lines } = recordingLogger();
    const clock = systemClock;
    const connection = createConnection({ kubeconfig, clock, environment: {} });
    const metrics = createKubernetesMetrics(createRegistry({ processMetrics: false }));
    const nodes = followNodes({ connection, clock, logger, metrics, signal: stop.signal });
    const reports = new NodeReports();
    const readiness = new NodeReadiness({
      nodes,
      reports,
      agentsOn: () => [],
      failsToConnect: () => false,
      mode: 'taint',
      clock,
      logger,
      metrics: { nodes: () => {}, wrote: () => {} },
    });
    const running = readiness.run(stop.signal);
    // By the node's address, as for an agent without a token.
    const here = { by: 'address', address: '192.0.2.1' } as const;
    reports.opened(here, 'peer');
    reports.take(here, 'peer', { ready: false, reason: 'NotYet', message: 'not yet' });
    await eventually('the condition is False', LIMIT_MS, async () => conditionOf(await node()) === 'False NotYet');
    assert.ok(taintsOf(await node()).includes(TAINT.key));
    reports.take(here, 'peer', READY);
    const off = (): Promise<unknown> =>
      eventually('the taint is off', LIMIT_MS, async () => !taintsOf(await node()).includes(TAINT.key));
    await off();
    for (let second = 0; second < 30; second += 1) {
      await patch(plane.admin, PATH, MERGE, taints(TAINT, OTHER));
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    await off();
    const now = await node();
    assert.equal(conditionOf(now), 'True AgentReady');
    assert.deepEqual(taintsOf(now), [OTHER.key]);
    assert.deepEqual(withoutVersion(now), withoutVersion(before));
    assert.deepEqual(
      lines.filter(({ level }) => level === 'error' || level === 'warn').map(({ message }) => message),
      [],
    );
    stop.abort();
    await running;
  });
});

/** A Node without what its server and the API server may change of it. */
function withoutVersion(object: JsonObject): Json {
  const { metadata, spec, status } = object;
  const conditions = listAt(object, 'status', 'conditions').filter((entry) => textAt(entry, 'type') !== CONDITION_TYPE);
  return {
    metadata: without(metadata, 'managedFields', 'resourceVersion'),
    spec: without(spec, 'taints'),
    status: { ...without(status, 'conditions'), conditions },
  };
}

function without(object: Json | undefined, ...names: readonly string[]): JsonObject {
  const entries = isJsonObject(object) ? Object.entries(object) : [];
  return Object.fromEntries(entries.filter(([name]) => !names.includes(name)));
}
