import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { parseAllDocuments, stringify } from 'yaml';

import { askHttp, type Cluster, LISTING, startCluster } from '../support/cluster.ts';
import { strictFaults } from '../support/strict-fields.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url));

/** 0400 is octal for kubectl. */
const YAML_OF_KUBECTL = { version: '1.1' } as const;

/** A manifest's object, as loosely as a test reads it. */
// oxlint-disable-next-line typescript/no-explicit-any -- any field of any kind of object may be asked for
type Manifest = any;

async function manifestsOf(folder: string): Promise<Manifest[]> {
  const names = (await readdir(DEPLOY + folder)).filter((name) => name.endsWith('.yaml'));
  const texts = await Promise.all(names.map((name) => readFile(`${DEPLOY}${folder}/${name}`, 'utf8')));
  return texts.flatMap((text) =>
    parseAllDocuments(text, YAML_OF_KUBECTL).map((document) => {
      assert.deepEqual(document.errors, []);
      return document.toJS();
    }),
  );
}

/** What "kubectl apply -k" would apply, or nothing where kubectl is absent. */
function kustomized(folder: string): Manifest[] | undefined {
  let text: string;
  try {
    text = execFileSync('kubectl', ['kustomize', resolve(DEPLOY, folder)], { encoding: 'utf8' });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  return parseAllDocuments(text, YAML_OF_KUBECTL).map((document) => document.toJS());
}

const plain = await manifestsOf('.');
const base = kustomized('base');
const withoutKubectl = base === undefined ? 'NOT TESTED: kubectl is not on the PATH' : false;
/** The overlays, by folder, and whether each node for servers has one, or two nodes do. */
const OVERLAYS: Readonly<Record<string, 'Deployment' | 'DaemonSet'>> = {
  eks: 'Deployment',
  'cert-manager': 'Deployment',
  dedicated: 'DaemonSet',
  'self-managed': 'DaemonSet',
};
const variants: [string, Manifest[]][] = [['plain', plain]];
for (const name of Object.keys(OVERLAYS)) {
  const objects = kustomized(name);
  if (objects !== undefined) variants.push([name, objects]);
}
/** What is applied beside an install. */
const others = await Promise.all(
  ['examples', 'injection', 'migration', 'monitoring'].map(async (folder): Promise<[string, Manifest[]]> => [
    folder,
    await manifestsOf(folder),
  ]),
);
const find = (objects: readonly Manifest[], kind: string, name: string): Manifest => {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  assert.ok(found, `${kind} ${name}`);
  return found;
};
const workloadOf = (objects: readonly Manifest[], name: string): Manifest =>
  objects.find(({ kind, metadata }) => ['DaemonSet', 'Deployment'].includes(kind) && metadata.name === name) ??
  assert.fail(name);
const podOf = (objects: readonly Manifest[], name: string): Manifest => workloadOf(objects, name).spec.template.spec;

/** Paths and addresses of a cluster become those of the test; every other argument stays as it is written. */
function substitute(args: readonly string[], replacements: Readonly<Record<string, string>>): string[] {
  return args.map((arg) => {
    const [flag = '', value = ''] = arg.split(/=(.*)/s, 2);
    return flag in replacements ? `${flag}=${replacements[flag]}` : value === '' ? flag : arg;
  });
}

/** What the kubelet would put into the agent's volume: a token made out as the manifest says, for the agent's own pod. */
async function agentToken(cluster: Cluster, agentPod: Manifest): Promise<string> {
  const pod = await cluster.world.pod({ namespace: 'kube-system', name: 'kiam-agent', hostNetwork: true });
  const { projected } = agentPod.volumes.find((volume: Manifest) => volume.name === 'token');
  cluster.world.api.createServiceAccount('kube-system', agentPod.serviceAccountName);
  return cluster.world.api.serviceAccountToken({
    namespace: 'kube-system',
    serviceAccount: agentPod.serviceAccountName,
    pod: { name: pod.name, uid: pod.uid },
    audiences: [projected.sources[0].serviceAccountToken.audience],
  });
}

describe('the manifests', () => {
  const clusters: Cluster[] = [];
  after(async () => {
    for (const cluster of clusters) await cluster.close();
  });

  it('all manifests parse, and the examples too', async () => {
    assert.equal(plain.length, 9);
    assert.equal((await manifestsOf('examples')).length, 2);
  });

  it('the server asks for no more than to read pods and namespaces, to write Events and to have tokens checked', () => {
    assert.deepEqual(find(plain, 'ClusterRole', 'kiam-server').rules, [
      { apiGroups: [''], resources: ['pods', 'namespaces', 'serviceaccounts'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
      { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    ]);
  });

  for (const [variant, objects] of [...variants, ...others]) {
    it(`${variant}: strict validation finds nothing`, () => {
      for (const object of objects) {
        // A patch names no kind, and cert-manager's and Prometheus' objects are not Kubernetes' own.
        const kind = object.kind ?? 'DaemonSet';
        assert.deepEqual(strictFaults({ ...object, kind }) ?? [], [], kind);
      }
    });
  }

  it('strict validation finds what is wrong', () => {
    const wrong = structuredClone(find(plain, 'DaemonSet', 'kiam-agent'));
    wrong.spec.template.spec.hostnetwork = true;
    wrong.spec.template.spec.containers[0].ports = [{ containerPort: 'http' }];
    wrong.spec.template.spec.volumes[0].secret.defaultMode = '0400';
    assert.deepEqual(strictFaults(wrong), [
      'DaemonSet.spec.template.spec.volumes[0].secret.defaultMode is no number',
      'DaemonSet.spec.template.spec.containers[0].ports[0].containerPort is no number',
      'DaemonSet.spec.template.spec.hostnetwork is unknown',
    ]);
  });

  it('only objects that are not of Kubernetes itself are left out of strict validation', () => {
    const kinds = variants.flatMap(([, objects]) => objects).filter((object) => strictFaults(object) === undefined);
    assert.deepEqual([...new Set(kinds.map(({ kind }) => kind))].toSorted(), ['Certificate', 'Issuer']);
  });

  for (const [variant, objects] of variants) {
    it(`${variant}: the agent has the network's capabilities and no other, on every node, before other pods`, () => {
      const pod = podOf(objects, 'kiam-agent');
      assert.equal(pod.hostNetwork, true);
      assert.equal(pod.automountServiceAccountToken, false);
      assert.deepEqual(pod.tolerations, [{ operator: 'Exists' }]);
      assert.equal(pod.priorityClassName, 'system-node-critical');
      for (const container of [...pod.containers, ...pod.initContainers]) {
        assert.deepEqual(container.securityContext.capabilities, { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] });
        assert.equal(container.securityContext.readOnlyRootFilesystem, true);
        assert.ok(container.volumeMounts.some((mount: Manifest) => mount.mountPath === '/run/xtables.lock'));
      }
    });

    it(`${variant}: the server runs without root and without capabilities`, () => {
      const pod = podOf(objects, 'kiam-server');
      assert.deepEqual([pod.securityContext.runAsNonRoot, pod.securityContext.runAsUser], [true, 65532]);
      assert.deepEqual(pod.containers[0].securityContext.capabilities, { drop: ['ALL'] });
    });

    it(`${variant}: start both daemons with the arguments as they stand, and no right beyond the ClusterRole`, async () => {
      const { rules } = find(plain, 'ClusterRole', 'kiam-server');
      const cluster = await startCluster({ serverRules: rules });
      clusters.push(cluster);
      const { certificates, kubeconfigs, metadata } = cluster.world;
      const [server] = podOf(objects, 'kiam-server').containers;
      const serverDaemon = await cluster.startServer({
        exactly: [
          ...substitute(server.args, {
            '--bind': '127.0.0.1:0',
            '--cert': certificates.serverCertificate,
            '--key': certificates.serverKey,
            '--ca': certificates.ca,
            '--prometheus-listen-addr': '127.0.0.1:0',
          }),
          `--kubeconfig=${kubeconfigs.server}`,
          `--metadata-endpoint=${metadata.url}`,
        ],
      });
      const agentPod = podOf(objects, 'kiam-agent');
      const [agent] = agentPod.containers;
      const tokenFile = join(cluster.world.folder, 'token');
      await writeFile(tokenFile, await agentToken(cluster, agentPod));
      const agentDaemon = await cluster.startAgent(serverDaemon.port, {
        exactly: [
          ...substitute(agent.args, {
            '--port': '0',
            '--cert': certificates.agentCertificate,
            '--key': certificates.agentKey,
            '--ca': certificates.ca,
            '--server-address': `localhost:${serverDaemon.port}`,
            '--prometheus-listen-addr': '127.0.0.1:0',
            '--agent-token-file': tokenFile,
            '--started-file': join(cluster.world.folder, 'started'),
          }).filter((arg) => arg !== '--iptables'),
          `--metadata-endpoint=${metadata.url}`,
        ],
        environment: { HOST_IP: '127.0.0.1' },
      });
      cluster.world.namespace('team', '.*');
      const pod = await cluster.world.pod({ namespace: 'team', name: 'reader', role: 'reader' });
      const answer = await askHttp({ port: agentDaemon.port, from: pod.address, path: `${LISTING}reader` });
      assert.equal(answer.status, 200, answer.body);
      const refused = await cluster.world.pod({ namespace: 'default', name: 'refused', role: 'reader' });
      await askHttp({ port: agentDaemon.port, from: refused.address, path: `${LISTING}reader` });
      await serverDaemon.child.line(/"msg":"pod denied by policy"/);
      assert.deepEqual(
        serverDaemon.log().filter((line) => /forbidden.*cannot/i.test(JSON.stringify(line))),
        [],
      );
    });

    it(`${variant}: put the guard in before the agent, and leave no interface to be guessed`, () => {
      const pod = podOf(objects, 'kiam-agent');
      const interfaces = (args: readonly string[]) => args.filter((arg) => arg.includes('-interface'));
      assert.ok(pod.initContainers[0].args.includes('--guard-only'));
      assert.deepEqual(interfaces(pod.initContainers[0].args), []);
      assert.deepEqual(interfaces(pod.containers[0].args), ['--host-interface=+']);
    });

    it(`${variant}: both daemons have the host's network and may share a node: no port of one is the other's`, () => {
      const ports = ['kiam-agent', 'kiam-server'].flatMap((name) => {
        const pod = podOf(objects, name);
        assert.deepEqual([pod.hostNetwork, pod.dnsPolicy], [true, 'ClusterFirstWithHostNet'], name);
        const [container] = pod.containers;
        // An agent names no ports: they would keep the next one off the node.
        if (name === 'kiam-agent') return [];
        for (const { containerPort, hostPort } of container.ports) {
          assert.equal(hostPort, containerPort);
          const flags = container.args.filter((arg: string) => new RegExp(`[:=]${containerPort}$`).test(arg));
          assert.equal(flags.length, 1, `${name} listens on ${containerPort}`);
        }
        return container.ports.map(({ hostPort }: Manifest) => hostPort);
      });
      assert.deepEqual(ports, [9610, 9620]);
      const agent = podOf(objects, 'kiam-agent').containers[0];
      assert.equal(agent.ports, undefined);
      assert.ok(agent.args.includes('--port=8181') && agent.args.includes('--prometheus-listen-addr=0.0.0.0:9621'));
      assert.ok(podOf(objects, 'kiam-agent').containers[0].args.includes('--server-address=kiam-server:9610'));
    });

    it(`${variant}: the server trusts the CA certificates that the node trusts, where the node has them`, () => {
      const { volumes, containers } = podOf(objects, 'kiam-server');
      const mounts = containers[0].volumeMounts.filter(({ name }: Manifest) => name.endsWith('-certs'));
      const pathOf = (name: string) => volumes.find((volume: Manifest) => volume.name === name).hostPath;
      assert.deepEqual(
        mounts.map(({ name, mountPath, readOnly }: Manifest) => [pathOf(name), mountPath, readOnly]),
        // Without a type nothing has to be there: https://kubernetes.io/docs/concepts/storage/volumes/#hostpath
        ['/etc/ssl/certs', '/etc/pki/ca-trust/extracted/pem'].map((path) => [{ path }, path, true]),
      );
    });
  }

  it('deploy/injection-v1beta1 is deploy/injection of another version', { skip: withoutKubectl }, () => {
    const stable = kustomized('injection') ?? [];
    const beta = kustomized('injection-v1beta1') ?? [];
    assert.equal(stable.length, 3);
    assert.ok(stable.every(({ apiVersion }) => apiVersion === 'admissionregistration.k8s.io/v1'));
    assert.deepEqual(
      beta,
      stable.map((object) => ({ ...object, apiVersion: 'admissionregistration.k8s.io/v1beta1' })),
    );
  });

  for (const name of ['base', ...Object.keys(OVERLAYS)]) {
    it(
      `deploy/container-credentials gives both daemons of deploy/${name} the flag`,
      { skip: withoutKubectl },
      async () => {
        const folder = await mkdtemp(join(DEPLOY, '.test-'));
        try {
          const [resources, components] = [[`../${name}`], ['../container-credentials']];
          await writeFile(join(folder, 'kustomization.yaml'), stringify({ resources, components }));
          const objects = kustomized(basename(folder)) ?? [];
          for (const daemon of ['kiam-agent', 'kiam-server']) {
            const { args } = podOf(objects, daemon).containers[0];
            assert.deepEqual(args, [
              ...podOf(kustomized(name) ?? [], daemon).containers[0].args,
              '--container-credentials',
            ]);
          }
        } finally {
          await rm(folder, { recursive: true });
        }
      },
    );
  }

  it('the manifests by kustomize are the plain ones', { skip: withoutKubectl }, () => {
    const sorted = (objects: readonly Manifest[]): Manifest[] =>
      objects.toSorted((a, b) => (`${a.kind}/${a.metadata.name}` < `${b.kind}/${b.metadata.name}` ? -1 : 1));
    assert.deepEqual(sorted(base ?? []), sorted(plain));
  });

  it('the manifests are all found by kubectl at the top of deploy/, which are links', { skip: withoutKubectl }, () => {
    // --local asks no API server, and reads files as "kubectl apply -f" does.
    const named = execFileSync('kubectl', ['annotate', '--local', '-f', DEPLOY, 'a=b', '-o', 'name'], {
      encoding: 'utf8',
    });
    assert.equal(named.trim().split('\n').length, plain.length);
  });

  for (const [name, kind] of Object.entries(OVERLAYS)) {
    it(`${name}: differs from the plain ones in where pods run and in nothing else`, { skip: withoutKubectl }, () => {
      const objects = variants.find(([variant]) => variant === name)?.[1] ?? [];
      const server = workloadOf(objects, 'kiam-server');
      assert.equal(server.kind, kind);
      for (const part of ['kiam-agent', 'kiam-server']) {
        assert.deepEqual(anywhere(podOf(objects, part)), anywhere(podOf(plain, part)));
      }
      if (kind === 'DaemonSet') {
        assert.equal(server.spec.updateStrategy.rollingUpdate.maxSurge, 0);
        assert.deepEqual(Object.keys(server.spec).toSorted(), ['selector', 'template', 'updateStrategy']);
      }
    });
  }

  it(
    'dedicated: servers run where Kiam has them, and tolerate what keeps others away',
    { skip: withoutKubectl },
    () => {
      const { nodeSelector, tolerations } = podOf(kustomized('dedicated') ?? [], 'kiam-server');
      assert.deepEqual(nodeSelector, { 'kiam-process': 'server' });
      const taint = { key: 'kiam-process', operator: 'Equal', value: 'server', effect: 'NoSchedule' };
      assert.deepEqual(tolerations, [taint]);
    },
  );

  for (const [install, kind, earlier] of [
    ['base', 'Deployment', []],
    ['self-managed', 'DaemonSet', ['node-role.kubernetes.io/control-plane']],
    ['dedicated', 'DaemonSet', ['kiam-process']],
  ] as const) {
    it(
      `startup-taint with ${install}: the servers get a flag and a toleration, and rights over Nodes that a policy limits`,
      { skip: withoutKubectl },
      async (t) => {
        const folder = await mkdtemp(join(tmpdir(), 'kiam-deploy-'));
        t.after(() => rm(folder, { recursive: true }));
        await cp(DEPLOY, join(folder, 'deploy'), { recursive: true, verbatimSymlinks: true });
        const file = join(folder, 'deploy/startup-taint/kustomization.yaml');
        await writeFile(file, (await readFile(file, 'utf8')).replace('../base\n', `../${install}\n`));
        const objects = kustomized(join(folder, 'deploy/startup-taint'));
        const without = kustomized(install);
        assert.ok(objects !== undefined && without !== undefined);
        for (const object of objects) assert.deepEqual(strictFaults(object) ?? [], [], object.kind);
        const added = objects.filter(
          ({ kind, metadata }) => !without.some((one) => one.kind === kind && one.metadata.name === metadata.name),
        );
        assert.deepEqual(added.map((object) => object.kind).toSorted(), [
          'ClusterRole',
          'ClusterRoleBinding',
          'ValidatingAdmissionPolicy',
          'ValidatingAdmissionPolicyBinding',
        ]);
        const server = find(objects, kind, 'kiam-server').spec.template.spec;
        const before = find(without, kind, 'kiam-server').spec.template.spec;
        assert.deepEqual(server.containers[0].args, [...before.containers[0].args, '--node-readiness=taint']);
        assert.deepEqual(
          server.tolerations.map(({ key }: Manifest) => key),
          [...earlier, 'kiam/agent-not-ready'],
        );
        assert.deepEqual(workloadOf(objects, 'kiam-agent'), workloadOf(without, 'kiam-agent'));
        assert.deepEqual(podOf(objects, 'kiam-agent').tolerations, [{ operator: 'Exists' }]);
      },
    );
  }

  it(
    'removal: the agents’ pods are replaced on all nodes by such as take the rules away',
    { skip: withoutKubectl },
    () => {
      const objects = kustomized('removal') ?? [];
      assert.deepEqual(objects.map(({ kind }) => kind).toSorted(), ['DaemonSet', 'ServiceAccount']);
      const daemonSet = find(objects, 'DaemonSet', 'kiam-agent');
      assert.deepEqual(strictFaults(daemonSet), []);
      assert.deepEqual(daemonSet.spec.selector, find(plain, 'DaemonSet', 'kiam-agent').spec.selector);
      assert.deepEqual(daemonSet.spec.updateStrategy.rollingUpdate, { maxUnavailable: '100%', maxSurge: 0 });
      const [remover] = podOf(objects, 'kiam-agent').initContainers;
      const agent = podOf(plain, 'kiam-agent').containers[0];
      assert.deepEqual(remover.args, ['agent', '--uninstall', '--port=8181', '--json-log']);
      assert.ok(agent.args.includes('--port=8181'));
      assert.deepEqual(remover.env, agent.env);
      assert.deepEqual(remover.securityContext, agent.securityContext);
      assert.deepEqual(podOf(objects, 'kiam-agent').tolerations, podOf(plain, 'kiam-agent').tolerations);
    },
  );

  it(
    'the manifests by cert-manager give the daemons the files that their arguments name',
    { skip: withoutKubectl },
    () => {
      const objects = variants.find(([name]) => name === 'cert-manager')?.[1] ?? [];
      for (const name of ['agent', 'server']) {
        const pod = podOf(objects, `kiam-${name}`);
        const { secret } = pod.volumes.find((volume: Manifest) => volume.name === 'tls');
        assert.equal(find(objects, 'Certificate', `kiam-${name}`).spec.secretName, secret.secretName);
        const files: string[] = secret.items.map((item: Manifest) => `/etc/kiam/tls/${item.path}`);
        for (const file of files) {
          assert.ok(
            pod.containers[0].args.some((arg: string) => arg.endsWith(`=${file}`)),
            file,
          );
        }
        assert.equal(files.length, 3);
      }
      assert.deepEqual(find(objects, 'Certificate', 'kiam-server').spec.dnsNames, ['kiam-server', 'localhost']);
    },
  );

  it('the manifests keep a server through evictions and updates, never two on one node, and have the next agent there before the last one goes', () => {
    const server = find(plain, 'Deployment', 'kiam-server');
    const { spec } = find(plain, 'PodDisruptionBudget', 'kiam-server');
    assert.equal(spec.minAvailable, 1);
    assert.deepEqual(spec.selector.matchLabels, server.spec.selector.matchLabels);
    assert.equal(server.spec.replicas, 2);
    assert.deepEqual(server.spec.strategy.rollingUpdate, { maxUnavailable: 1, maxSurge: 0 });
    const spread = server.spec.template.spec.topologySpreadConstraints;
    assert.deepEqual(
      spread.map((constraint: Manifest) => [constraint.topologyKey, constraint.maxSkew, constraint.whenUnsatisfiable]),
      [
        ['kubernetes.io/hostname', 1, 'DoNotSchedule'],
        ['topology.kubernetes.io/zone', 1, 'ScheduleAnyway'],
      ],
    );
    for (const { labelSelector } of spread) {
      assert.deepEqual(labelSelector.matchLabels, server.spec.selector.matchLabels);
    }
    const { updateStrategy, template } = find(plain, 'DaemonSet', 'kiam-agent').spec;
    assert.deepEqual(updateStrategy.rollingUpdate, { maxUnavailable: 0, maxSurge: 1 });
    const [agent] = template.spec.containers;
    const [, , file] = agent.startupProbe.exec.command;
    assert.ok(agent.args.includes(`--started-file=${file}`), 'the probe that no other agent answers');
    const { periodSeconds, failureThreshold } = agent.readinessProbe;
    assert.equal(periodSeconds * failureThreshold, 60, 'one that is not ready is replaced with no other beside it');
  });
});

/** A pod's spec without what says where it may run. With cert-manager the files of a Secret have other names. */
function anywhere(pod: object): Record<string, Manifest> {
  const places = ['nodeSelector', 'tolerations', 'affinity', 'topologySpreadConstraints'];
  const others = Object.fromEntries(Object.entries(structuredClone(pod)).filter(([key]) => !places.includes(key)));
  for (const { secret } of others['volumes']) if (secret !== undefined) delete secret.items;
  return others;
}
