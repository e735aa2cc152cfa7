import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { parseAllDocuments } from 'yaml';

import { EKS_ROLE_ANNOTATION } from '#domain/service-account.ts';
import { MIRROR_ANNOTATION, ROLE_ANNOTATION } from '#domain/pod.ts';
import { type JsonObject, textAt } from '#sandbox/json.ts';

import { eventually } from '../support/eventually.ts';
import { findHelm } from '../support/helm.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { findAssets } from './find-assets.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const ROLE_ARN = 'arn:aws:iam::123456789012:role/app';
const LABEL = 'iam.amazonaws.com/container-credentials';
const LIMIT_MS = 30_000;

const URI = { name: 'AWS_CONTAINER_CREDENTIALS_FULL_URI', value: 'http://169.254.170.23/v1/credentials' };
const FOLDER = '/var/run/secrets/pods.eks.amazonaws.com/serviceaccount';
const FILE = { name: 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE', value: `${FOLDER}/eks-pod-identity-token` };
const TOKEN = 'eks-pod-identity-token';
const SOURCE = { serviceAccountToken: { audience: 'pods.eks.amazonaws.com', expirationSeconds: 86_400, path: TOKEN } };

interface PodFields {
  readonly namespace?: string;
  readonly serviceAccountName?: string;
  readonly annotations?: JsonObject;
  readonly labels?: JsonObject;
  readonly spec?: JsonObject;
}

const assets = findAssets();

describe('deploy/injection, before the API server of Kubernetes', { skip: assets.skip }, () => {
  let plane: ControlPlane;
  let pods = 0;

  /** A pod as the API server keeps it. */
  const podWith = async ({ namespace = 'team', annotations = {}, labels = {}, ...more }: PodFields = {}) => {
    const { spec = {}, ...account } = more;
    pods += 1;
    return plane.admin.demand('POST', `/api/v1/namespaces/${namespace}/pods`, {
      metadata: { name: `pod-${pods}`, annotations, labels },
      spec: { containers: [{ name: 'main', image: 'example.com/app' }], ...account, ...spec },
    });
  };
  const isInjected = ({ spec }: { spec: { volumes?: { name: string }[] } }): boolean =>
    spec.volumes?.some(({ name }) => name === TOKEN) === true;

  before(async () => {
    if (assets.skip !== false) return;
    plane = await startControlPlane(assets.folder, { mutates: true });
    const env = { PATH: assets.path, HOME: plane.folder, KUBECONFIG: plane.adminKubeconfig };
    await promisify(execFile)('kubectl', ['apply', '-k', 'deploy/injection-v1beta1'], { cwd: ROOT, env });
    const accounts: readonly (readonly [name: string, annotations: JsonObject])[] = [
      ['default', {}],
      ['app', { [EKS_ROLE_ANNOTATION]: ROLE_ARN }],
      ['own', { [ROLE_ANNOTATION]: 'app' }],
      ['no-arn', { [EKS_ROLE_ANNOTATION]: 'app' }],
    ];
    for (const [namespace, labels] of [
      ['team', {}],
      ['labelled', { [LABEL]: 'inject' }],
    ] as const) {
      await plane.admin.demand('POST', '/api/v1/namespaces', { metadata: { name: namespace, labels } });
      for (const [name, annotations] of accounts) {
        const path = `/api/v1/namespaces/${namespace}/serviceaccounts`;
        await plane.admin.demand('POST', path, { metadata: { name, annotations } });
      }
    }
    await eventually('the policy counts', LIMIT_MS, async () =>
      isInjected(await podWith({ serviceAccountName: 'app' })),
    );
    const labelled = { namespace: 'labelled', annotations: { [ROLE_ANNOTATION]: 'app' } };
    await eventually('so does its other binding', LIMIT_MS, async () => isInjected(await podWith(labelled)));
  });
  after(() => plane?.stop());

  it('all containers and init containers get both variables and the token, and keep what they have', async () => {
    const mine = { name: 'MINE', value: '1' };
    const data = { name: 'data', mountPath: '/data' };
    const { spec } = await podWith({
      serviceAccountName: 'app',
      spec: {
        initContainers: [{ name: 'first', image: 'example.com/first', env: [mine] }],
        containers: [
          { name: 'main', image: 'example.com/app', env: [mine], volumeMounts: [data] },
          { name: 'beside', image: 'example.com/beside' },
        ],
        volumes: [{ name: 'data', emptyDir: {} }],
      },
    });
    const [main, beside] = spec.containers;
    const [first] = spec.initContainers;
    for (const { env, volumeMounts } of [main, beside, first]) {
      assert.deepEqual(env.slice(-2), [URI, FILE]);
      assert.ok(
        volumeMounts.some((mount: JsonObject) => mount['mountPath'] === FOLDER && mount['readOnly'] === true),
        JSON.stringify(volumeMounts),
      );
    }
    assert.deepEqual([main.env.length, beside.env.length, first.env.length], [3, 2, 3]);
    assert.deepEqual(main.volumeMounts[0], data);
    const tokens = spec.volumes.filter(({ name }: { name: string }) => name === TOKEN);
    assert.deepEqual(tokens, [{ name: TOKEN, projected: { defaultMode: 420, sources: [SOURCE] } }]);
    assert.ok(spec.volumes.some(({ name }: { name: string }) => name === 'data'));
  });

  it('a pod without any volume gets one', async () => {
    const { spec } = await podWith({ serviceAccountName: 'app', spec: { automountServiceAccountToken: false } });
    assert.deepEqual(
      spec.volumes.map(({ name }: { name: string }) => name),
      [TOKEN],
    );
  });

  const own = { [ROLE_ANNOTATION]: 'app' };
  const ROWS: readonly (readonly [what: string, pod: PodFields, isInjected: boolean])[] = [
    ['of a ServiceAccount with a role of IRSA', { serviceAccountName: 'app' }, true],
    ['of a ServiceAccount with a role of Kiam', { serviceAccountName: 'own' }, true],
    ['with the host network', { serviceAccountName: 'app', spec: { hostNetwork: true } }, true],
    ['of a ServiceAccount without a role', {}, false],
    ['of a ServiceAccount whose role of IRSA is no ARN', { serviceAccountName: 'no-arn' }, false],
    ['with a role of its own', { annotations: own }, false],
    ['with a role of its own in a labelled namespace', { namespace: 'labelled', annotations: own }, true],
    ['without a role in a labelled namespace', { namespace: 'labelled' }, false],
    ['of Kiam itself', { serviceAccountName: 'app', labels: { app: 'kiam' } }, false],
    [
      'that a kubelet runs from a file',
      { namespace: 'labelled', annotations: { ...own, [MIRROR_ANNOTATION]: 'x' }, spec: { nodeName: 'node-1' } },
      false,
    ],
    ...['AWS_CONTAINER_CREDENTIALS_FULL_URI', 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'].map(
      (name): readonly [string, PodFields, boolean] => [
        `whose second container has ${name}`,
        {
          serviceAccountName: 'app',
          spec: {
            containers: [
              { name: 'main', image: 'example.com/app' },
              { name: 'beside', image: 'example.com/beside', env: [{ name, value: 'mine' }] },
            ],
          },
        },
        false,
      ],
    ),
  ];
  for (const [what, pod, expected] of ROWS) {
    it(`a pod ${what} is ${expected ? 'given them' : 'left alone'}`, async () => {
      const made = await podWith(pod);
      const variables = made.spec.containers.flatMap(({ env = [] }: { env?: { name: string }[] }) =>
        env.filter(({ name }) => name === FILE.name),
      );
      assert.equal(isInjected(made), expected);
      assert.equal(variables.length, expected ? made.spec.containers.length : 0);
    });
  }

  it('a pod with both a role of its own and a ServiceAccount with one is given them once', async () => {
    const { spec } = await podWith({ namespace: 'labelled', annotations: own, serviceAccountName: 'app' });
    assert.equal(spec.volumes.filter(({ name }: { name: string }) => name === TOKEN).length, 1);
    assert.deepEqual(spec.containers[0].env, [URI, FILE]);
  });

  it('the policy of the Helm chart is taken as well, with another address', async (t) => {
    const helm = findHelm();
    t.after(() => helm.remove());
    if (helm.skip !== false) return t.skip(helm.skip);
    const injection = { enabled: true, address: '[fd00:ec2::23]', serviceAccountSelector: { matchLabels: { a: 'b' } } };
    const values = { generateCertificates: 'never', containerCredentials: { enabled: true, injection } };
    const { status, stdout, stderr } = helm.template(values);
    assert.equal(status, 0, stderr);
    const objects = parseAllDocuments(stdout).map((document): JsonObject => document.toJS());
    const ours = objects.filter((object) => textAt(object, 'kind').startsWith('MutatingAdmissionPolicy'));
    assert.equal(ours.length, 3);
    for (const object of ours) {
      const kind =
        textAt(object, 'kind') === 'MutatingAdmissionPolicy'
          ? 'mutatingadmissionpolicies'
          : 'mutatingadmissionpolicybindings';
      const name = textAt(object, 'metadata', 'name');
      const path = `/apis/admissionregistration.k8s.io/v1beta1/${kind}`;
      await plane.admin.demand('POST', `${path}?dryRun=All`, {
        ...object,
        metadata: { name: `${name}-of-the-chart` },
      });
    }
  });

  it('of 100 ServiceAccounts of a namespace the pod’s own is found', async () => {
    await plane.admin.demand('POST', '/api/v1/namespaces', { metadata: { name: 'crowded' } });
    const names = Array.from({ length: 100 }, (_, index) => `account-${index}`);
    for (let first = 0; first < names.length; first += 20) {
      await Promise.all(
        names.slice(first, first + 20).map((name) =>
          plane.admin.demand('POST', '/api/v1/namespaces/crowded/serviceaccounts', {
            metadata: { name, annotations: name === 'account-77' ? { [ROLE_ANNOTATION]: 'app' } : {} },
          }),
        ),
      );
    }
    const pod = { namespace: 'crowded', serviceAccountName: 'account-77' };
    await eventually('it is given them', LIMIT_MS, async () => isInjected(await podWith(pod)));
    assert.equal(isInjected(await podWith({ ...pod, serviceAccountName: 'account-76' })), false);
  });

  it('the pods of a ServiceAccount that gets a role are given them from then on', async () => {
    const path = '/api/v1/namespaces/team/serviceaccounts/default';
    await plane.admin.demand('PATCH', path, { metadata: { annotations: { [ROLE_ANNOTATION]: 'app' } } });
    await eventually('a pod is given them', LIMIT_MS, async () => isInjected(await podWith()));
  });
});
