import { after, before, describe } from 'node:test';

import { type ApiUnderTest, describeKubernetesApi } from '../contract/kubernetes-api.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { findAssets } from './find-assets.ts';
import { serviceAccountToken } from './pods.ts';

const assets = findAssets();

// What the stand-in is held to in test/contract must be what Kubernetes does.
describe('the contract of the stand-in, before the API server of Kubernetes', { skip: assets.skip }, () => {
  let plane: ControlPlane;
  let users = 0;

  before(async () => {
    if (assets.skip !== false) return;
    plane = await startControlPlane(assets.folder);
  });
  after(() => plane.stop());

  const user: ApiUnderTest['user'] = async (rules) => {
    users += 1;
    const name = `contract-user-${users}`;
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    await plane.admin.demand('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name } });
    await plane.admin.demand('POST', `${rbac}/clusterroles`, {
      metadata: { name },
      rules: rules.map((rule) => ({ ...rule })),
    });
    await plane.admin.demand('POST', `${rbac}/clusterrolebindings`, {
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', namespace: 'default', name }],
    });
    const token = await serviceAccountToken(plane.admin, { namespace: 'default', name });
    return { userName: `system:serviceaccount:default:${name}`, client: plane.as(token) };
  };

  const podToken: ApiUnderTest['podToken'] = async ({ namespace, audience, pod }) => {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    await plane.admin.demand('POST', path, { metadata: { name: 'default' } });
    return serviceAccountToken(plane.admin, {
      namespace,
      name: 'default',
      audience,
      pod: { ...pod, namespace, address: '' },
    });
  };

  describeKubernetesApi(() => ({
    admin: plane.admin,
    stranger: plane.as('wrong'),
    user,
    podToken,
    compact: () => plane.compacted(),
  }));
});
