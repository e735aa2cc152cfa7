import { after, before } from 'node:test';

import { createAuthority } from '#pki/authority.ts';
import { systemClock } from '#runtime/clock.ts';
import { type KubernetesApi, startKubernetesApi } from '#sandbox/kubernetes-api/api.ts';

import { type ApiClient, apiClient } from '../support/api-client.ts';
import { describeKubernetesApi, NODE_NAME } from './kubernetes-api.ts';

/** Longer than the tests take: there the stand-in's kubelet does nothing. */
const NEVER_MS = 3_600_000;

let api: KubernetesApi;
let admin: ApiClient;
let stranger: ApiClient;
let users = 0;

before(async () => {
  api = await startKubernetesApi({
    clock: systemClock,
    authority: await createAuthority(),
    nodes: [{ name: NODE_NAME, address: '127.0.0.1' }],
    podAddresses: ['127.1.0.0/24'],
    addressOrder: 'rotate',
    timing: { startDelayMs: NEVER_MS, terminationDelayMs: 'never' },
  });
  admin = apiClient(api.adminKubeconfig());
  stranger = apiClient(api.adminKubeconfig().replace(/"token": "[^"]*"/, '"token": "wrong"'));
});
after(async () => {
  admin.close();
  stranger.close();
  await api.close();
});

describeKubernetesApi(() => ({
  admin,
  stranger,
  user: (rules) => {
    users += 1;
    const userName = `user-${users}`;
    return Promise.resolve({ userName, client: apiClient(api.identity(userName, rules)) });
  },
  podToken: ({ namespace, audience, pod }) =>
    Promise.resolve(
      api.serviceAccountToken({
        namespace,
        serviceAccount: 'default',
        audiences: [audience],
        pod,
      }),
    ),
  compact: () => {
    api.controls.compact();
    return Promise.resolve();
  },
}));
