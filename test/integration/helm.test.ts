import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { parseAllDocuments } from 'yaml';

import { chartReadme } from '../support/chart-readme.ts';
import { CHART, findHelm } from '../support/helm.ts';
import { strictFaults } from '../support/strict-fields.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url));

/** A manifest's object, as loosely as a test reads it. */
// oxlint-disable-next-line typescript/no-explicit-any -- any field of any kind of object may be asked for
type Manifest = any;

const helm = findHelm();

function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text, { version: '1.1' }).flatMap((document) => {
    assert.deepEqual(document.errors, []);
    const object = document.toJS();
    return object === null ? [] : [object];
  });
}

/** With certificates by kiam pki, unless the values say otherwise. */
function render(values: object): Manifest[] {
  const { status, stdout, stderr } = helm.template({ generateCertificates: 'never', ...values });
  assert.equal(status, 0, stderr);
  const objects = parseManifests(stdout);
  for (const object of objects) assert.deepEqual(strictFaults(object) ?? [], []);
  return objects;
}

function find(objects: readonly Manifest[], kind: string, name: string): Manifest {
  return (
    objects.find((object) => object.kind === kind && object.metadata.name === name) ?? assert.fail(`${kind} ${name}`)
  );
}
const workloadOf = (objects: readonly Manifest[], name: string): Manifest =>
  objects.find(({ kind, metadata }) => ['DaemonSet', 'Deployment'].includes(kind) && metadata.name === name) ??
  assert.fail(name);
const podOf = (objects: readonly Manifest[], name: string): Manifest => workloadOf(objects, name).spec.template.spec;
const argsOf = (objects: readonly Manifest[], name: string): string[] => podOf(objects, name).containers[0].args;

/** What the chart keeps of Kiam's chart (labels and names of containers) and what Helm adds is left out, and the order of flags. */
function comparable(object: Manifest): Manifest {
  return JSON.parse(
    JSON.stringify(object, (key, value: Manifest) => {
      if (['labels', 'matchLabels', 'selector', 'podSelector', 'imagePullPolicy', 'successThreshold'].includes(key))
        return undefined;
      if (key === 'args') return value.toSorted();
      if (key === 'containers') return value.map((container: Manifest) => ({ ...container, name: 'kiam' }));
      return value;
    }),
  );
}

const unlabelled = (key: string, value: unknown): unknown => (key === 'labels' ? undefined : value);

/** Kiam's own values, by the names that its chart documents, with values that its users have. */
const OF_KIAM = {
  extraArgs: {},
  imagePullSecrets: {},
  agent: {
    enabled: true,
    name: 'agent',
    image: { repository: 'registry.example/kiam-agent', tag: 'v9', pullPolicy: 'Always' },
    whiteListRouteRegexp: '^/latest/meta-data/(local-ipv4|placement/)',
    log: { jsonOutput: false, level: 'warn' },
    deepLivenessProbe: true,
    host: { iptables: true, iptablesRemoveOnShutdown: true, port: 8282, interface: '!eth0', ip: '$(HOST_IP)' },
    prometheus: {
      scrape: true,
      port: 9620,
      syncInterval: '5s',
      servicemonitor: { enabled: true, path: '/metrics', interval: '10s', labels: { release: 'prometheus' } },
    },
    podAnnotations: { 'prometheus.io/scrape': 'false' },
    podLabels: { team: 'platform' },
    serviceAnnotations: {},
    serviceLabels: {},
    priorityClassName: 'special',
    updateStrategy: 'OnDelete',
    dnsPolicy: 'ClusterFirstWithHostNet',
    nodeSelector: { 'kubernetes.io/role': 'node' },
    tolerations: [],
    affinity: {},
    resources: { limits: { memory: '300Mi' } },
    extraArgs: { 'grpc-keepalive-permit-without-stream': '', wait: '800ms' },
    extraEnv: [{ name: 'TZ', value: 'UTC' }],
    extraHostPathMounts: [
      { name: 'certs', mountPath: '/etc/ssl/certs', hostPath: '/usr/share/ca-certificates', readOnly: true },
    ],
    initContainers: [],
    gatewayTimeoutCreation: '500ms',
    keepaliveParams: { time: '15s', timeout: '3s', permitWithoutStream: true },
    tlsFiles: { ca: null, cert: null, key: null },
    tlsSecret: 'my-agent-tls',
    tlsCerts: { certFileName: 'tls.crt', keyFileName: 'tls.key', caFileName: 'ca.crt' },
    livenessProbe: {
      initialDelaySeconds: 3,
      periodSeconds: 3,
      timeoutSeconds: 1,
      successThreshold: 1,
      failureThreshold: 3,
    },
    seLinuxOptions: { type: 'spc_t' },
  },
  server: {
    enabled: true,
    name: 'server',
    image: { repository: 'registry.example/kiam-server', tag: 'v9', pullPolicy: 'Always' },
    deployment: { enabled: false, replicas: 3 },
    log: { jsonOutput: true, level: 'info' },
    prometheus: {
      scrape: true,
      port: 9620,
      syncInterval: '5s',
      servicemonitor: { enabled: true, path: '/metrics', interval: '10s', labels: {} },
    },
    priorityClassName: '',
    updateStrategy: 'OnDelete',
    sslCertHostPath: '/etc/pki/ca-trust/extracted/pem',
    service: { port: 443, targetPort: 443 },
    gatewayTimeoutCreation: '1s',
    keepaliveParams: {
      time: '11s',
      timeout: '4s',
      maxConnectionIdle: '5m',
      maxConnectionAge: '6m',
      maxConnectionAgeGrace: '7m',
    },
    probes: { serverAddress: '127.0.0.1' },
    tlsFiles: { ca: 'Y2E=', cert: 'Y2VydA==', key: 'a2V5' },
    tlsSecret: null,
    roleBaseArn: 'arn:aws:iam::123456789012:role/',
    cache: { syncInterval: '2m' },
    assumeRoleArn: 'arn:aws:iam::123456789012:role/kiam',
    sessionDuration: '15m',
    useHostNetwork: true,
    disableStrictNamespaceRegexp: true,
  },
  rbac: { create: true },
  psp: { create: false },
  serviceAccounts: {
    agent: { create: true, name: 'my-agent', annotations: {} },
    server: {
      create: true,
      name: null,
      annotations: { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::123456789012:role/kiam' },
    },
  },
};

describe('the Helm chart', { skip: helm.skip }, () => {
  after(() => helm.remove());

  it('the Helm chart renders the objects of deploy/, and nothing else', async () => {
    const plain: Manifest[] = [];
    for (const name of ['agent', 'server', 'server-rbac', 'server-protection']) {
      plain.push(...parseManifests(await readFile(`${DEPLOY}${name}.yaml`, 'utf8')));
    }
    const objects = render({});
    assert.equal(objects.length, plain.length);
    for (const object of plain) {
      assert.deepEqual(comparable(find(objects, object.kind, object.metadata.name)), comparable(object), object.kind);
    }
  });

  it('the Helm chart for EKS is what kustomize makes', (t) => {
    const built = spawnSync('kubectl', ['kustomize', `${DEPLOY}eks`], { encoding: 'utf8' });
    if (built.status !== 0) return t.skip('NOT TESTED: kubectl is not on the PATH');
    const eks = parseManifests(built.stdout);
    const affinityOf = (name: string): object => podOf(eks, name).affinity;
    const objects = render({
      agent: { affinity: affinityOf('kiam-agent') },
      server: { affinity: affinityOf('kiam-server') },
    });
    for (const name of ['kiam-agent', 'kiam-server']) {
      assert.deepEqual(comparable(workloadOf(objects, name)), comparable(workloadOf(eks, name)));
    }
  });

  const injection = { enabled: true };

  it('the Helm chart with containerCredentials gives both daemons the flag, and with injection renders deploy/injection', async () => {
    const plain = parseManifests(await readFile(`${DEPLOY}injection/policy.yaml`, 'utf8'));
    const objects = render({ containerCredentials: { enabled: true, injection } });
    for (const name of ['kiam-agent', 'kiam-server']) {
      assert.ok(argsOf(objects, name).includes('--container-credentials'), name);
      assert.ok(!argsOf(render({}), name).includes('--container-credentials'), name);
    }
    for (const object of plain) {
      const rendered = find(objects, object.kind, object.metadata.name);
      // Helm's own Kubernetes is 1.34 here.
      assert.equal(rendered.apiVersion, 'admissionregistration.k8s.io/v1beta1');
      const wanted = { ...object, apiVersion: rendered.apiVersion };
      assert.deepEqual(
        JSON.parse(JSON.stringify(rendered, unlabelled)),
        JSON.parse(JSON.stringify(wanted, unlabelled)),
      );
    }
    assert.equal(objects.length, render({}).length + plain.length);
  });

  it('the Helm chart injects another address and for selected ServiceAccounts, and refuses to inject what is not served', () => {
    const values = {
      enabled: true,
      injection: { ...injection, address: '[fd00:ec2::23]', serviceAccountSelector: { matchLabels: { has: 'role' } } },
    };
    const objects = render({ containerCredentials: values });
    const policy = find(objects, 'MutatingAdmissionPolicy', 'kiam-container-credentials');
    const { expression } = policy.spec.mutations[0].applyConfiguration;
    assert.equal(expression.match(/"http:\/\/\[fd00:ec2::23\]\/v1\/credentials"/g)?.length, 2);
    assert.doesNotMatch(expression, /169/);
    const binding = find(objects, 'MutatingAdmissionPolicyBinding', 'kiam-container-credentials-by-serviceaccount');
    assert.deepEqual(binding.spec.paramRef.selector, { matchLabels: { has: 'role' } });
    assert.equal(helm.template({ generateCertificates: 'never', containerCredentials: { injection } }).status, 1);
    // As "helm upgrade --reuse-values" has them from a chart without these values.
    assert.equal(render({ containerCredentials: null }).length, render({}).length);
  });

  it('the Helm chart with server.nodeReadiness=taint is what deploy/startup-taint makes, and with condition patches no more than the status', (t) => {
    const built = spawnSync('kubectl', ['kustomize', `${DEPLOY}startup-taint`], { encoding: 'utf8' });
    if (built.status !== 0) return t.skip('NOT TESTED: kubectl is not on the PATH');
    const plain = parseManifests(built.stdout);
    const objects = render({ server: { nodeReadiness: 'taint' } });
    assert.equal(objects.length, plain.length);
    for (const object of plain) {
      assert.deepEqual(comparable(find(objects, object.kind, object.metadata.name)), comparable(object), object.kind);
    }
    const [read, status, ...others] = find(
      render({ server: { nodeReadiness: 'condition' } }),
      'ClusterRole',
      'kiam-server-nodes',
    ).rules;
    assert.deepEqual([read.verbs, status.resources, others], [['list', 'watch'], ['nodes/status'], []]);
    const own = render({ server: { nodeReadiness: 'taint', tolerations: [{ key: 'own', operator: 'Exists' }] } });
    assert.deepEqual(
      podOf(own, 'kiam-server').tolerations.map(({ key }: Manifest) => key),
      ['own', 'kiam/agent-not-ready'],
    );
  });

  it('the Helm chart takes the values of Kiam by their names', () => {
    const objects = render(OF_KIAM);
    const agent = argsOf(objects, 'kiam-agent');
    for (const flag of [
      '--level=warn',
      '--iptables',
      '--iptables-remove',
      '--host-interface=!eth0',
      '--host=$(HOST_IP)',
      '--port=8282',
      '--cert=/etc/kiam/tls/tls.crt',
      '--key=/etc/kiam/tls/tls.key',
      '--ca=/etc/kiam/tls/ca.crt',
      '--server-address=kiam-server:443',
      '--prometheus-listen-addr=0.0.0.0:9620',
      '--allow-route-regexp=^/latest/meta-data/(local-ipv4|placement/)',
      '--gateway-timeout-creation=500ms',
      '--grpc-keepalive-time-duration=15s',
      '--grpc-keepalive-timeout-duration=3s',
      '--grpc-keepalive-permit-without-stream',
      '--wait=800ms',
    ])
      assert.ok(agent.includes(flag), flag);
    assert.ok(!agent.includes('--json-log'));
    const server = argsOf(objects, 'kiam-server');
    for (const flag of [
      '--json-log',
      '--bind=0.0.0.0:443',
      '--cert=/etc/kiam/tls/cert',
      '--role-base-arn=arn:aws:iam::123456789012:role/',
      '--assume-role-arn=arn:aws:iam::123456789012:role/kiam',
      '--session-duration=15m',
      '--sync=2m',
      '--disable-strict-namespace-regexp',
      '--grpc-keepalive-time-duration=11s',
      '--grpc-keepalive-timeout-duration=4s',
      '--grpc-max-connection-idle-duration=5m',
      '--grpc-max-connection-age-duration=6m',
      '--grpc-max-connection-age-grace-duration=7m',
    ])
      assert.ok(server.includes(flag), flag);
    assert.ok(!server.includes('--role-base-arn-autodetect'));
    const agentSet = find(objects, 'DaemonSet', 'kiam-agent');
    const agentPod = agentSet.spec.template.spec;
    assert.deepEqual(agentSet.spec.updateStrategy, { type: 'OnDelete' });
    assert.equal(agentPod.containers[0].livenessProbe.httpGet.path, '/health?deep=1');
    assert.equal(agentPod.containers[0].image, 'registry.example/kiam-agent:v9');
    assert.equal(agentPod.volumes[0].secret.secretName, 'my-agent-tls');
    assert.equal(agentPod.serviceAccountName, 'my-agent');
    assert.deepEqual(agentSet.spec.template.metadata.labels, {
      app: 'kiam',
      component: 'agent',
      release: 'kiam',
      team: 'platform',
    });
    assert.equal(agentSet.spec.template.metadata.annotations['prometheus.io/scrape'], 'false');
    const serverPod = podOf(objects, 'kiam-server');
    assert.equal(serverPod.hostNetwork, true);
    assert.equal(serverPod.securityContext.runAsUser, 0);
    assert.deepEqual(serverPod.containers[0].securityContext.capabilities.add, ['NET_BIND_SERVICE']);
    assert.deepEqual(find(objects, 'Secret', serverPod.volumes[0].secret.secretName).data, {
      cert: 'Y2VydA==',
      key: 'a2V5',
      ca: 'Y2E=',
    });
    assert.equal(find(objects, 'PodMonitor', 'kiam-agent').metadata.labels.release, 'prometheus');
  });

  it('the Helm chart gives both daemons the files of cert-manager, for the name that agents dial', () => {
    const objects = render({ certManager: { enabled: true }, fullnameOverride: 'creds' });
    for (const part of ['agent', 'server']) {
      const { secretName } = podOf(objects, `creds-${part}`).volumes[0].secret;
      assert.equal(find(objects, 'Certificate', `creds-${part}`).spec.secretName, secretName);
      assert.ok(argsOf(objects, `creds-${part}`).includes('--cert=/etc/kiam/tls/tls.crt'));
    }
    assert.ok(argsOf(objects, 'creds-agent').includes('--server-address=creds-server:9610'));
    assert.ok(find(objects, 'Certificate', 'creds-server').spec.dnsNames.includes('creds-server'));
  });

  it('the Helm chart runs two servers on two nodes, which are what the headless Service selects, or as many as it is told', () => {
    const objects = render({});
    const { spec } = find(objects, 'Deployment', 'kiam-server');
    assert.equal(spec.replicas, 2);
    assert.deepEqual(find(objects, 'Service', 'kiam-server').spec.selector, spec.template.metadata.labels);
    for (const { labelSelector } of spec.template.spec.topologySpreadConstraints) {
      assert.deepEqual(labelSelector.matchLabels, spec.template.metadata.labels);
    }
    const three = render({ server: { deployment: { replicas: 3 } } });
    assert.equal(find(three, 'Deployment', 'kiam-server').spec.replicas, 3);
  });

  it('the Helm chart runs a server on each node that its selector names when it is told so', () => {
    const nodeSelector = { 'kiam-process': 'server' };
    const objects = render({ server: { deployment: { enabled: false }, nodeSelector } });
    const { spec } = find(objects, 'DaemonSet', 'kiam-server');
    assert.deepEqual(spec.updateStrategy.rollingUpdate, { maxUnavailable: 1, maxSurge: 0 });
    assert.deepEqual(spec.template.spec.nodeSelector, nodeSelector);
    assert.equal(spec.template.spec.topologySpreadConstraints, undefined);
  });

  it('the Helm chart: without the host network for servers has no ports of the node, and a NetworkPolicy', () => {
    const objects = render({ server: { useHostNetwork: false } });
    const pod = podOf(objects, 'kiam-server');
    assert.deepEqual([pod.hostNetwork, pod.dnsPolicy], [undefined, undefined]);
    assert.ok(pod.containers[0].ports.every(({ hostPort }: Manifest) => hostPort === undefined));
    const { ports } = find(objects, 'NetworkPolicy', 'kiam-server').spec.ingress[0];
    assert.deepEqual(
      ports.map(({ port }: Manifest) => port),
      pod.containers[0].ports.map(({ name }: Manifest) => name),
    );
    assert.ok(!render({}).some(({ kind }) => kind === 'NetworkPolicy'));
  });

  it('the Helm chart takes empty maps where Kiam’s chart took lists, and writes whole numbers as they are', () => {
    const empty = { extraEnv: {}, extraHostPathMounts: {}, initContainers: {} };
    const extraArgs = { 'pod-rate': 1_000_000, 'pod-concurrency': 16, wait: '900ms' };
    const objects = render({ agent: { ...empty, extraArgs }, server: empty });
    assert.equal(podOf(objects, 'kiam-agent').initContainers.length, 1, 'the guard alone');
    const args = argsOf(objects, 'kiam-agent');
    assert.deepEqual(args.slice(-3), ['--pod-concurrency=16', '--pod-rate=1000000', '--wait=900ms']);
  });

  it('the Helm chart says in plain words what to choose where it cannot see the cluster, and makes certificates when told to', () => {
    const refused = helm.template({});
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /no cluster can be seen here: it is only rendered/);
    for (const choice of ['generateCertificates=never', 'certManager.enabled=true', 'generateCertificates=always']) {
      assert.ok(refused.stderr.includes(choice), choice);
    }
    const objects = render({ generateCertificates: 'always' });
    for (const part of ['agent', 'server']) {
      const { secretName } = podOf(objects, `kiam-${part}`).volumes[0].secret;
      const { data } = find(objects, 'Secret', secretName);
      for (const file of [`${part}.pem`, `${part}-key.pem`, 'ca.pem']) assert.ok(data[file], file);
      assert.ok(argsOf(objects, `kiam-${part}`).includes(`--cert=/etc/kiam/tls/${part}.pem`));
    }
  });

  it('the Helm chart with agent.uninstall has each agent take its rules away and then do nothing, as deploy/removal has', (t) => {
    const built = spawnSync('kubectl', ['kustomize', `${DEPLOY}removal`], { encoding: 'utf8' });
    if (built.status !== 0) return t.skip('NOT TESTED: kubectl is not on the PATH');
    const [plain, ours] = [
      workloadOf(parseManifests(built.stdout), 'kiam-agent'),
      workloadOf(render({ agent: { uninstall: true } }), 'kiam-agent'),
    ].map(comparable);
    const [remover] = ours.spec.template.spec.initContainers;
    assert.deepEqual(remover, plain.spec.template.spec.initContainers[0]);
    assert.deepEqual(ours.spec.template.spec.volumes, plain.spec.template.spec.volumes);
    assert.deepEqual(ours.spec.updateStrategy, plain.spec.updateStrategy);
    const [container] = ours.spec.template.spec.containers;
    assert.deepEqual(container.command, plain.spec.template.spec.containers[0].command);
    assert.deepEqual([container.args, container.ports, container.livenessProbe], [undefined, undefined, undefined]);
  });

  it('the Helm chart passes helm lint --strict without a remark', async () => {
    const { status, stdout } = await helm.run(['lint', '--strict', CHART]);
    assert.equal(status, 0, stdout);
    assert.doesNotMatch(stdout, /\[(?:INFO|WARNING|ERROR)\]/);
  });

  it('the Helm chart has a page of its values that is made of values.yaml', async () => {
    const page = await readFile(`${CHART}/README.md`, 'utf8');
    assert.equal(page, chartReadme(await readFile(`${CHART}/values.yaml`, 'utf8')), 'run npm run chart-readme');
    assert.match(page, /^\| `server\.deployment\.replicas` \| `2` \|/m);
  });

  it('the Helm chart tells the servers which account the agents have, under the name that they are given', () => {
    const accountOf = (values: object): string | undefined =>
      argsOf(render(values), 'kiam-server').find((flag) => flag.startsWith('--agent-service-account='));
    const namespace = 'kube-system';
    assert.equal(accountOf({}), `--agent-service-account=system:serviceaccount:${namespace}:kiam-agent`);
    const serviceAccounts = { agent: { create: false, name: 'ours' } };
    assert.equal(accountOf({ serviceAccounts }), `--agent-service-account=system:serviceaccount:${namespace}:ours`);
  });

  it('the Helm chart refuses values that it does not know, and half a set of certificate files', () => {
    assert.match(helm.template({ agent: { hots: {} } }).stderr, /hots/);
    assert.match(helm.template({ server: { agentIdentity: 'tokens' } }).stderr, /agentIdentity/);
    assert.match(
      helm.template({ agent: { tlsFiles: { cert: 'YQ==' } } }).stderr,
      /agent\.tlsFiles needs ca, cert and key/,
    );
  });
});
