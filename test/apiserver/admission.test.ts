import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { type AdmissionOptions, admissionManifests } from '#admission/admission-policy.ts';
import { checkAdmission } from '#doctor/cluster/admission.ts';
import { compileExpression, LARGEST_PROGRAM } from '#domain/expression.ts';
import { PERMITTED_ANNOTATION } from '#domain/namespace.ts';
import { EXTERNAL_ID_ANNOTATION, ROLE_ANNOTATION } from '#domain/pod.ts';
import { decide } from '#domain/policy.ts';
import { SESSION_TAG_PREFIX } from '#domain/service-account.ts';
import { createConnection } from '#kubernetes/connection.ts';
import { systemClock } from '#runtime/clock.ts';
import { type JsonObject, textAt } from '#sandbox/json.ts';

import { eventually } from '../support/eventually.ts';
import { podRecord } from '../support/pods.ts';
import { admissionCases, BASE_ARNS } from './admission-cases.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { findAssets } from './find-assets.ts';

const assets = findAssets();
/** `npm run test:apiserver -- --cases=100000` */
const CASES = Number(process.env['KIAM_ADMISSION_CASES'] ?? '600');
const SEED = Number(process.env['KIAM_ADMISSION_SEED'] ?? '20260101');
// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const AT_A_TIME = 16;
const LIMIT_MS = 30_000;

const WORKLOADS = [
  ['Pod', '/api/v1', 'pods'],
  ['Deployment', '/apis/apps/v1', 'deployments'],
  ['StatefulSet', '/apis/apps/v1', 'statefulsets'],
  ['DaemonSet', '/apis/apps/v1', 'daemonsets'],
  ['ReplicaSet', '/apis/apps/v1', 'replicasets'],
  ['Job', '/apis/batch/v1', 'jobs'],
  ['CronJob', '/apis/batch/v1', 'cronjobs'],
] as const;
type Workload = (typeof WORKLOADS)[number];

describe('the admission policy, before the API server of Kubernetes', { skip: assets.skip }, () => {
  let plane: ControlPlane;

  before(async () => {
    if (assets.skip === false) plane = await startControlPlane(assets.folder);
  });
  after(() => plane.stop());

  const namespaces = new Map<string, string>();
  /** A namespace with this expression, made before the policy can refuse it. */
  const namespaceWith = async (permitted: string | undefined): Promise<string> => {
    const name = `judged-${namespaces.size}`;
    namespaces.set(name, permitted ?? '');
    const annotations = permitted === undefined ? {} : { [PERMITTED_ANNOTATION]: permitted };
    await plane.admin.demand('POST', '/api/v1/namespaces', { metadata: { name, annotations } });
    return name;
  };

  /** What the API says to an object that is applied: `''` when it takes it, else why not. */
  const saysTo = async (workload: Workload, namespace: string, template: JsonObject): Promise<string> => {
    const [kind, root, resource] = workload;
    const path = `${root}/namespaces/${namespace}/${resource}?dryRun=All`;
    const { status, body } = await plane.admin.call('POST', path, { body: objectOf(kind, template) });
    if (status === 201) return '';
    const message = textAt(body, 'message');
    assert.match(message, /ValidatingAdmissionPolicy 'kiam'/, `${status} ${message}`);
    return message;
  };

  const apply = async (
    options: Pick<AdmissionOptions, 'action' | 'baseArn' | 'strict'> & Partial<AdmissionOptions>,
  ): Promise<void> => {
    for (const manifest of admissionManifests({
      namespace: 'kube-system',
      binding: 'both',
      containerCredentials: false,
      allowedTags: ['team'],
      ...options,
    })) {
      const path = pathOf(manifest.kind);
      const { name } = manifest.metadata;
      const body = JSON.parse(JSON.stringify(manifest)) as JsonObject;
      const made = await plane.admin.ask('POST', path, body);
      if (made.status === 409)
        await plane.admin.call('PATCH', `${path}/${String(name)}`, {
          body,
          headers: { 'content-type': 'application/merge-patch+json' },
        });
      else assert.equal(made.status, 201, JSON.stringify(made.body));
    }
  };

  /** Resolves once the API server judges by this base ARN. */
  const inForce = (namespace: string, arn: string): Promise<number> =>
    eventually('the policy is in force', LIMIT_MS, async () =>
      (await saysTo(WORKLOADS[0], namespace, templateOf({ [ROLE_ANNOTATION]: 'probe' }))).includes(`${arn}probe;`),
    );

  it(`the admission policy, before the API server of Kubernetes agrees with the server about ${CASES} generated objects`, async (context) => {
    const cases = admissionCases(CASES, SEED);
    const names = await eachOf(cases, ({ permitted }) => namespaceWith(permitted));
    const probe = await namespaceWith('nothing');
    const tally = { judged: 0, allowed: 0, large: 0 };
    for (const [round, baseArn] of BASE_ARNS.entries()) {
      const strict = round !== 2;
      await apply({ action: 'deny', baseArn, strict });
      await inForce(probe, baseArn);
      const part = cases.map((one, index) => ({ ...one, namespace: names[index] ?? '' }));
      await eachOf(
        part.filter((_, index) => index % BASE_ARNS.length === round),
        async ({ permitted, roles, namespace }, index) => {
          const expression = compileExpression(permitted, strict);
          for (const [place, role] of roles.entries()) {
            const workload = WORKLOADS[(index + place) % WORKLOADS.length] ?? WORKLOADS[0];
            const said = await saysTo(workload, namespace, templateOf({ [ROLE_ANNOTATION]: role }));
            const question = { requestedRole: role, namespace: { name: namespace, permitted }, expression, baseArn };
            const decision =
              role === '' ? { allowed: true } : decide({ pod: podRecord({ namespace, role }), ...question });
            tally.judged += 1;
            if (said === '') tally.allowed += 1;
            // The size of a compiled expression cannot be told in CEL: only the server refuses those.
            if (!expression.ok && expression.reason.includes(`more than ${LARGEST_PROGRAM} instructions`))
              tally.large += 1;
            else
              assert.equal(
                said === '',
                decision.allowed,
                JSON.stringify({
                  role,
                  baseArn,
                  said: said.slice(0, 600),
                  decision,
                  permitted: permitted.slice(0, 200),
                }),
              );
          }
        },
      );
    }
    context.diagnostic(
      `${tally.judged} objects, ${tally.allowed} allowed, ${tally.large} with too large an expression: 0 disagreements (seed ${SEED})`,
    );
    assert.ok(tally.allowed > tally.judged / 50 && tally.allowed < tally.judged / 1.5, 'both verdicts must occur');
  });

  it('the admission policy, before the API server of Kubernetes tells a person what is wrong and how to fix it', async () => {
    await apply({ action: 'deny', baseArn: BASE_ARNS[0], strict: true });
    const team = await namespaceWith('arn:aws:iam::123456789012:role/team/.*');
    const bare = await namespaceWith(undefined);
    await inForce(team, BASE_ARNS[0]);
    const good = { [ROLE_ANNOTATION]: 'team/app' };
    const cases: readonly [string, JsonObject, RegExp][] = [
      [team, templateOf(good), /^$/],
      [bare, templateOf({}), /^$/],
      [
        team,
        templateOf({ [ROLE_ANNOTATION]: 'other' }),
        /does not match arn:aws:iam::123456789012:role\/other; fix: the expression must match the whole ARN/,
      ],
      [
        bare,
        templateOf(good),
        /namespace judged-\d+ has no annotation iam\.amazonaws\.com\/permitted.*fix: kubectl annotate namespace/,
      ],
      [team, templateOf({ [ROLE_ANNOTATION]: 'a b' }), /the role 'a b' cannot exist; fix: /],
      [
        team,
        templateOf(good, { hostNetwork: true }),
        /hostNetwork shares the address of its node.*fix: remove hostNetwork/,
      ],
      [team, templateOf({ ...good, [EXTERNAL_ID_ANNOTATION]: 'ü' }), /AWS does not accept the external id; fix: /],
      [team, templateOf({ ...good, [`${SESSION_TAG_PREFIX}team`]: 'é 1_.:/=+-@' }), /^$/],
      [
        team,
        templateOf({ ...good, [`${SESSION_TAG_PREFIX}team`]: 'a;b' }),
        /does not accept the value of a session tag/,
      ],
      [team, templateOf({ ...good, [`${SESSION_TAG_PREFIX}team`]: 'x'.repeat(257) }), /of a session tag; fix: /],
      [team, templateOf({ ...good, [`${SESSION_TAG_PREFIX}other`]: 'a;b' }), /^$/],
    ];
    for (const workload of WORKLOADS)
      for (const [namespace, template, expected] of cases)
        assert.match(await saysTo(workload, namespace, template), expected);
  });

  it('the admission policy, before the API server of Kubernetes judges the session tags of a ServiceAccount, when it is made and when they change', async () => {
    await apply({ action: 'deny', baseArn: BASE_ARNS[0], strict: true });
    const team = await namespaceWith('arn:aws:iam::123456789012:role/team/.*');
    await inForce(team, BASE_ARNS[0]);
    const path = `/api/v1/namespaces/${team}/serviceaccounts`;
    const create = (name: string, tags: Record<string, string>) =>
      plane.admin.call('POST', path, { body: { metadata: { name, annotations: tags } } });
    const refused = await create('refused', { [`${SESSION_TAG_PREFIX}team`]: 'a;b' });
    assert.equal(refused.status, 422);
    assert.match(textAt(refused.body, 'message'), /does not accept the value of a session tag; fix: /);
    const made = await create('app', { [`${SESSION_TAG_PREFIX}team`]: 'a', [`${SESSION_TAG_PREFIX}other`]: 'b' });
    assert.equal(made.status, 201);
    assert.match(
      String(made.headers['warning']),
      /session tag does not count.*iam\.amazonaws\.com\/session-tag\.other/,
    );
    const patch = (annotations: Record<string, string>) =>
      plane.admin.ask('PATCH', `${path}/app`, { metadata: { annotations } });
    assert.equal((await patch({ [`${SESSION_TAG_PREFIX}team`]: 'a;b' })).status, 422);
    assert.equal((await patch({ note: 'else' })).status, 200);
  });

  it('the admission policy, before the API server of Kubernetes refuses a namespace whose expression does not compile, and warns of one that permits everything or nothing', async () => {
    const create = (permitted: string) => {
      const body = { metadata: { generateName: 'new-', annotations: { [PERMITTED_ANNOTATION]: permitted } } };
      return plane.admin.call('POST', '/api/v1/namespaces?dryRun=All', { body });
    };
    const broken = await create('x)|(?:.*');
    assert.equal(broken.status, 422);
    assert.match(textAt(broken.body, 'message'), /error parsing regexp: unexpected \)/);
    for (const [permitted, warning] of [
      ['.*', /matches every role of every account/],
      ['(?i)ARN:.*', /matches every role of every account/],
      ['', /is empty/],
      ['arn:aws:iam::123456789012:role/.*', /^$/],
    ] as const) {
      const { status, headers } = await create(permitted);
      assert.equal(status, 201);
      assert.match(String(headers['warning'] ?? ''), warning, permitted);
    }
  });

  it('the admission policy, before the API server of Kubernetes lets an object from before the policy be scaled and deleted, and judges what changes in it', async () => {
    await apply({ action: 'warn', baseArn: BASE_ARNS[0], strict: true });
    const bare = await namespaceWith(undefined);
    const path = `/apis/apps/v1/namespaces/${bare}/deployments`;
    await eventually('nothing is refused', LIMIT_MS, async () => {
      const { status } = await plane.admin.ask(
        'POST',
        `${path}?dryRun=All`,
        objectOf('Deployment', templateOf({ [ROLE_ANNOTATION]: 'x' })),
      );
      return status === 201;
    });
    const { headers } = await plane.admin.call('POST', path, {
      body: objectOf('Deployment', templateOf({ [ROLE_ANNOTATION]: 'x' })),
    });
    assert.match(String(headers['warning']), /has no annotation iam\.amazonaws\.com\/permitted/);
    await apply({ action: 'deny', baseArn: BASE_ARNS[0], strict: true });
    const patch = (body: JsonObject, query = '') => plane.admin.ask('PATCH', `${path}/one${query}`, body);
    await eventually('the policy is in force', LIMIT_MS, async () => {
      const annotations = { [ROLE_ANNOTATION]: 'y' };
      return (await patch({ spec: { template: { metadata: { annotations } } } }, '?dryRun=All')).status === 422;
    });
    assert.equal((await patch({ spec: { replicas: 3 }, metadata: { annotations: { note: 'scaled' } } })).status, 200);
    assert.equal((await plane.admin.ask('DELETE', `${path}/one`)).status, 200);
  });

  it('the admission policy, before the API server of Kubernetes is found by doctor, which says where it judges otherwise than the servers', async () => {
    const connection = createConnection({ kubeconfig: plane.adminKubeconfig, environment: {}, clock: systemClock });
    const verdicts = async (baseArn: string): Promise<string[]> => {
      const signal = AbortSignal.timeout(LIMIT_MS);
      const options = { baseArn, strict: true, binding: 'both' as const, allowedTags: ['team'], signal };
      return (await checkAdmission(connection, options)).map(({ verdict, says }) => `${verdict}: ${says}`);
    };
    assert.deepEqual(await verdicts(BASE_ARNS[0]), ['ok: the admission policy judges as the servers do (Deny)']);
    const [other] = await verdicts(BASE_ARNS[1]);
    assert.match(other ?? '', /^wrong: the admission policy judges with baseArn /);
    await plane.admin.demand('DELETE', `${pathOf('ValidatingAdmissionPolicyBinding')}/kiam`);
    assert.deepEqual(await verdicts(BASE_ARNS[0]), [
      'wrong: the admission policy is not bound, so that it judges nothing',
    ]);
    await apply({ action: 'deny', baseArn: BASE_ARNS[0], strict: true });
    connection.close();
  });

  it('the admission policy judges ServiceAccounts and pods by what the servers count', async () => {
    const team = await namespaceWith('arn:aws:iam::123456789012:role/team/.*');
    const account = async (annotations: Readonly<Record<string, string>>): Promise<string> => {
      const path = `/api/v1/namespaces/${team}/serviceaccounts?dryRun=All`;
      const { status, body } = await plane.admin.call('POST', path, {
        body: { metadata: { name: 'one', annotations } },
      });
      return status === 201 ? '' : textAt(body, 'message');
    };
    const eks = (role: string) => account({ 'eks.amazonaws.com/role-arn': role });
    await apply({ action: 'deny', baseArn: BASE_ARNS[0], strict: true });
    await inForce(team, BASE_ARNS[0]);
    assert.equal(await eks('arn:aws:iam::123456789012:role/team/app'), '');
    assert.match(await eks('arn:aws:iam::123456789012:role/other'), /does not match/);
    assert.match(await eks('team/app'), /cannot exist/);
    assert.equal(await account({ [ROLE_ANNOTATION]: 'team/app' }), '');
    assert.match(await account({ [ROLE_ANNOTATION]: 'other' }), /does not match/);

    const onHost = templateOf({ [ROLE_ANNOTATION]: 'team/app' }, { hostNetwork: true });
    const wrongRole = templateOf({ [ROLE_ANNOTATION]: 'other' });
    await apply({ action: 'deny', baseArn: BASE_ARNS[0], strict: true, binding: 'serviceaccount' });
    await eventually('pods are not judged', LIMIT_MS, async () => (await saysTo(WORKLOADS[0], team, wrongRole)) === '');
    assert.match(await eks('arn:aws:iam::123456789012:role/other'), /does not match/);
    await apply({ action: 'deny', baseArn: BASE_ARNS[0], strict: true, binding: 'pod', containerCredentials: true });
    await eventually('pods are judged', LIMIT_MS, async () => (await saysTo(WORKLOADS[0], team, wrongRole)) !== '');
    assert.equal(await eks('arn:aws:iam::123456789012:role/other'), '');
    assert.equal(await saysTo(WORKLOADS[0], team, onHost), '');
    await apply({ action: 'deny', baseArn: BASE_ARNS[0], strict: true });
  });

  it('the admission policy, before the API server of Kubernetes stops nobody when its parameters are gone', async () => {
    await plane.admin.demand('DELETE', '/api/v1/namespaces/kube-system/configmaps/kiam');
    const bare = await namespaceWith(undefined);
    await eventually('pods are created', LIMIT_MS, async () => {
      const path = `/api/v1/namespaces/${bare}/pods?dryRun=All`;
      return (
        (await plane.admin.ask('POST', path, objectOf('Pod', templateOf({ [ROLE_ANNOTATION]: 'x' })))).status === 201
      );
    });
  });
});

function pathOf(kind: string): string {
  const policies = '/apis/admissionregistration.k8s.io/v1';
  if (kind === 'ConfigMap') return '/api/v1/namespaces/kube-system/configmaps';
  return kind === 'ValidatingAdmissionPolicy'
    ? `${policies}/validatingadmissionpolicies`
    : `${policies}/validatingadmissionpolicybindings`;
}

function templateOf(annotations: Readonly<Record<string, string>>, spec: JsonObject = {}): JsonObject {
  const labels = { app: 'one' };
  return { metadata: { labels, annotations }, spec: { containers: [{ name: 'main', image: 'app' }], ...spec } };
}

/** An object of the kind that makes such pods. */
function objectOf(kind: string, template: JsonObject): JsonObject {
  const selector = { matchLabels: { app: 'one' } };
  const metadata = { name: 'one' };
  const job = { template: { ...template, spec: { ...(template['spec'] as JsonObject), restartPolicy: 'Never' } } };
  switch (kind) {
    case 'Pod':
      return { ...template, metadata: { ...(template['metadata'] as JsonObject), ...metadata } };
    case 'Job':
      return { metadata, spec: job };
    case 'CronJob':
      return { metadata, spec: { schedule: '0 0 * * *', jobTemplate: { spec: job } } };
    default:
      return { metadata, spec: { selector, template, ...(kind === 'StatefulSet' ? { serviceName: 'one' } : {}) } };
  }
}

/** Runs them a few at a time; results in order. */
async function eachOf<T, R>(items: readonly T[], run: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index];
      if (item !== undefined) results[index] = await run(item, index);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  return results;
}
