import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { systemClock } from '#runtime/clock.ts';
import { listAt, textAt } from '#sandbox/json.ts';
import { AddressPool } from '#sandbox/kubernetes-api/addresses.ts';
import type { KubernetesApi } from '#sandbox/kubernetes-api/api.ts';
import type { SandboxPod } from '#sandbox/kubernetes-api/kubelet.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { podObject, startApi } from './api-fixture.ts';

const started: KubernetesApi[] = [];
afterEach(async () => {
  for (const api of started.splice(0)) await api.close();
});

async function start(options: Parameters<typeof startApi>[0]): Promise<KubernetesApi> {
  const api = await startApi(options);
  started.push(api);
  return api;
}

function addressOf(api: KubernetesApi, name: string): string {
  return textAt(api.pod('default', name), 'status', 'podIP');
}

test('no two live pods ever share an address, also when the addresses run out', async () => {
  const clock = new ManualClock();
  const api = await start({ clock, podAddresses: ['127.1.0.1', '127.1.0.2'] });
  for (const name of ['a', 'b', 'c']) api.createPod('default', podObject(name));
  await clock.advance(1000);
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => addressOf(api, name)),
    ['127.1.0.1', '127.1.0.2', ''],
  );
  api.deletePod('default', 'a');
  await clock.advance(1000);
  assert.equal(api.pod('default', 'a'), undefined);
  assert.equal(addressOf(api, 'c'), '127.1.0.1');
});

test('an ended pod gives its address back although its status still shows it', async () => {
  const clock = new ManualClock();
  const api = await start({ clock, podAddresses: ['127.1.0.1'] });
  api.createPod('default', podObject('a'));
  await clock.advance(10);
  api.patchPod('default', 'a', { status: { phase: 'Succeeded' } });
  api.createPod('default', podObject('b'));
  await clock.advance(1000);
  assert.deepEqual([addressOf(api, 'a'), addressOf(api, 'b')], ['127.1.0.1', '127.1.0.1']);
});

test('addresses rest before they are used again, or come back at once when the test wants it hard', () => {
  const pool = new AddressPool(['127.1.0.0/29'], 'rotate');
  const first = pool.take('a') ?? '';
  pool.giveBack(first, 'a');
  assert.deepEqual([first, pool.take('b')], ['127.1.0.1', '127.1.0.2']);
  pool.setOrder('lowest');
  assert.equal(pool.take('c'), '127.1.0.1');
});

test('an address that was put by hand is not given to anybody else', async () => {
  const clock = new ManualClock();
  const api = await start({ clock, podAddresses: ['127.1.0.1', '127.1.0.2'] });
  const status = { phase: 'Running', podIP: '127.1.0.1', podIPs: [{ ip: '127.1.0.1' }] };
  api.putPod({ ...podObject('put', { namespace: 'default' }), status });
  api.createPod('default', podObject('made'));
  await clock.advance(10);
  assert.equal(addressOf(api, 'made'), '127.1.0.2');
});

test('a pod that was put stays as it was put, even terminating', async () => {
  const clock = new ManualClock();
  const api = await start({ clock });
  api.putPod({ ...podObject('pending', { namespace: 'default' }), status: { phase: 'Pending' } });
  api.putPod({
    ...podObject('leaving', { namespace: 'default', deletionTimestamp: '2026-01-01T00:00:00Z' }),
    status: { phase: 'Running' },
  });
  await clock.advance(60_000);
  assert.equal(addressOf(api, 'pending'), '');
  assert.notEqual(api.pod('default', 'leaving'), undefined);
});

test('pods in the network of the host have the address of their node', async () => {
  const clock = new ManualClock();
  const api = await start({
    clock,
    nodes: [
      { name: 'a', address: '127.0.0.2' },
      { name: 'b', address: '127.0.0.3' },
    ],
  });
  const spec = { hostNetwork: true, nodeName: 'b', containers: [{ name: 'main', image: 'app' }] };
  api.createPod('default', { metadata: { name: 'host' }, spec });
  await clock.advance(10);
  assert.deepEqual(
    [addressOf(api, 'host'), textAt(api.pod('default', 'host'), 'spec', 'nodeName')],
    ['127.0.0.3', 'b'],
  );
});

test('hooks come before a pod is shown as running and before its address is free', async () => {
  const clock = new ManualClock();
  const seen: string[] = [];
  let attach = (): void => {};
  const api = await start({
    clock,
    podAddresses: ['127.1.0.1'],
    onPodRunning: (pod: SandboxPod) => {
      seen.push(`attach ${pod.name} ${pod.addresses.join()}`);
      return new Promise((resolve) => {
        attach = resolve;
      });
    },
    onPodGone: async (pod: SandboxPod) => {
      seen.push(`detach ${pod.name}`);
    },
  });
  api.createPod('default', podObject('a'));
  await clock.advance(10);
  assert.deepEqual([seen, addressOf(api, 'a')], [['attach a 127.1.0.1'], '']);
  // Deleted while its network is being made: the network is still taken down, after it is there.
  api.removePod('default', 'a');
  api.createPod('default', podObject('b'));
  await clock.advance(10);
  assert.deepEqual(seen, ['attach a 127.1.0.1']);
  attach();
  await clock.advance(1000);
  assert.deepEqual(seen, ['attach a 127.1.0.1', 'detach a', 'attach b 127.1.0.1']);
  attach();
  await settle();
  assert.equal(addressOf(api, 'b'), '127.1.0.1');
});

test('a pod whose network cannot be made fails and says why', async () => {
  const clock = new ManualClock();
  const api = await start({ clock, onPodRunning: () => Promise.reject(new Error('no such bridge')) });
  api.createPod('default', podObject('a'));
  await clock.advance(10);
  const { message, phase } = {
    message: textAt(api.pod('default', 'a'), 'status', 'message'),
    phase: textAt(api.pod('default', 'a'), 'status', 'phase'),
  };
  assert.deepEqual([phase, message], ['Failed', 'no such bridge']);
});

test('ten thousand pods get ten thousand addresses within seconds', async () => {
  const api = await start({ clock: systemClock, podAddresses: ['127.1.0.0/16'] });
  const signal = AbortSignal.timeout(30_000);
  const names = Array.from({ length: 10_000 }, (_, index) => `pod-${index}`);
  for (const name of names) api.createPod('default', podObject(name));
  const condition = (pod: Parameters<typeof textAt>[0]): boolean => textAt(pod, 'status', 'podIP') !== '';
  const pods = await Promise.all(
    names.map((name) => api.waitForPod({ namespace: 'default', name, signal, condition })),
  );
  const addresses = pods.flatMap((pod) => listAt(pod, 'status', 'podIPs').map((entry) => textAt(entry, 'ip')));
  assert.equal(new Set(addresses).size, 10_000);
});
