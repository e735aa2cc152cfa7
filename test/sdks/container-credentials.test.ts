import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';

import type { Child } from '#sandbox/child.ts';
import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import { podAddress6 } from '#sandbox/network/addresses.ts';
import { runCommand } from '#sandbox/network/commands.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { eventually } from '../support/eventually.ts';
import { createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { DISCOVERY, podToken } from '../support/pod-token.ts';
import { type Ending, type RunningSdk, type Said, startSdk } from '../support/running-sdk.ts';
import { findSdk, type SdkProgram, WANTED_SDKS } from '../support/sdk-programs.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const skip = await networkSkip();
/** Those that read a token from a file. */
const SDKS: ReadonlySet<string> = new Set(['javascript-v3', 'javascript-v2', 'boto3', 'aws-cli', 'go-v2', 'java-v2']);
const LIMIT_MS = 60_000;
const ADDRESSES = { IPv4: '169.254.170.23', IPv6: '[fd00:ec2::23]' } as const;
/** It allows the address of IPv4 alone (aws-sdk 2, lib/credentials/remote_credentials.js). */
const IPV4_ALONE: ReadonlySet<string> = new Set(['javascript-v2']);
type Family = keyof typeof ADDRESSES;

const rows: string[] = [];

/** A pod, how a command is run in its place, and the file of its token. */
interface Place {
  readonly what: string;
  readonly pod: WorldPod;
  readonly podExec: readonly string[];
  readonly file: string;
}

describe('a stock SDK with the two variables of container credentials alone', { skip }, () => {
  let node: KernelNode;
  let server: Child;
  let places: readonly Place[];

  /** As the kubelet does it: the new token takes the file's place at once. */
  const project = async ({ pod, file }: Place): Promise<string> => {
    const token = podToken(node.world, pod);
    await writeFile(`${file}.new`, token);
    await rename(`${file}.new`, file);
    return token;
  };
  const placeOf = async (name: string, hostNetwork: boolean): Promise<Place> => {
    const pod = await node.world.pod({ namespace: 'team', name, role: `team/${name}`, hostNetwork });
    const podExec = hostNetwork ? node.nodeExec : node.podExec(pod.address);
    if (!hostNetwork) {
      const podIPs = [{ ip: pod.address }, { ip: podAddress6(pod.address) }];
      node.world.api.patchPod('team', name, { status: { podIPs } });
    }
    const place = { what: hostNetwork ? 'host network' : 'pod', pod, podExec, file: join(node.world.folder, name) };
    await project(place);
    return place;
  };
  const statusOf = async ({ podExec }: Place, token: string, family: Family = 'IPv4'): Promise<string> => {
    const url = `http://${ADDRESSES[family]}/v1/credentials`;
    const curl = ['curl', '-s', '-g', '-o', '/dev/null', '-w', '%{http_code}', '-H', `Authorization: ${token}`, url];
    const outcome = await runCommand([...podExec, ...curl]);
    return outcome.ok ? outcome.output.trim() : outcome.reason;
  };
  const start = (t: Ending, place: Place, sdk: SdkProgram, family: Family): Promise<RunningSdk> =>
    startSdk(t, { world: node.world, podExec: place.podExec }, sdk, {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://${ADDRESSES[family]}/v1/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: place.file,
      AWS_EC2_METADATA_DISABLED: 'true',
    });

  before(async () => {
    node = await createKernelNode({ label: 'cc', backend: 'nft', serverRules: [...SERVER_RULES, DISCOVERY] });
    node.world.namespace('team', '.*');
    // As nodes have it: by this way packets for an address of the link leave the node's own programs.
    for (const [family, to] of [
      ['-4', '169.254.169.254'],
      ['-6', 'fd00:ec2::254'],
    ] as const) {
      const gateway = /via (\S+)/.exec(await node.onNode('ip', family, 'route', 'get', to))?.[1] ?? '';
      await node.onNode('ip', family, 'route', 'add', 'default', 'via', gateway);
    }
    server = await node.startServer(['--container-credentials']);
    const agent = node.startAgent({ flags: ['--container-credentials'] });
    await node.intercepts(agent);
    await agent.line(/"msg":"container credentials: listening"/);
    places = [await placeOf('app', false), await placeOf('on-node', true)];
    for (const place of places) {
      for (const family of ['IPv4', 'IPv6'] as const) {
        const token = await project(place);
        await eventually(
          `${place.what}, ${family}`,
          LIMIT_MS,
          async () => (await statusOf(place, token, family)) === '200',
        );
      }
    }
  });
  after(async (t) => {
    await node?.remove();
    for (const row of rows) (t as TestContext).diagnostic(row);
  });

  const kept: (() => void)[] = [];
  after(() => {
    for (const end of kept) end();
  });
  const found = new Map<string, SdkProgram>();
  const running: { readonly name: string; readonly place: Place; readonly sdk: RunningSdk }[] = [];

  const judge = (name: string, { what, pod }: Place, how: string, { tookMs, arn: is, error }: Said): void => {
    rows.push(`${name.padEnd(14)} ${`${what}, ${how}`.padEnd(38)} ${tookMs.toFixed(0).padStart(6)} ms  ${is ?? error}`);
    const arn = `arn:aws:sts::${node.world.accountId}:assumed-role/${pod.name}/kiam-kiam`;
    assert.equal(is, arn, `${name}, ${what}, ${how}: ${error}`);
  };

  for (const name of WANTED_SDKS.filter((wanted) => SDKS.has(wanted))) {
    test(`${name} has the role of its pod, by IPv4 and IPv6, with an address of its own and with the host's network`, async (t) => {
      const sdk = await findSdk(name);
      if ('missing' in sdk) return t.skip(`SDK NOT TESTED: ${name}: ${sdk.missing}`);
      found.set(name, sdk);
      for (const place of places) {
        for (const family of IPV4_ALONE.has(name) ? (['IPv4'] as const) : (['IPv4', 'IPv6'] as const)) {
          judge(name, place, family, await (await start(t, place, sdk, family)).said());
        }
      }
    });
  }

  test('the SDKs read a token that was rotated, and one that was signed by a new key of the cluster', async () => {
    for (const [name, sdk] of found) {
      for (const place of places) {
        const started = await start({ after: (end) => void kept.push(end) }, place, sdk, 'IPv4');
        judge(name, place, 'before the rotation', await started.said());
        running.push({ name, place, sdk: started });
      }
    }
    const old = await Promise.all(places.map(project));
    node.world.api.tokens.rotate();
    for (const [index, place] of places.entries()) {
      const token = await project(place);
      await eventually('the new key is known', LIMIT_MS, async () => (await statusOf(place, token)) === '200');
      assert.equal(await statusOf(place, old[index] ?? ''), '200', 'the key before is good for what it signed');
    }
    for (const { name, place, sdk } of running) judge(name, place, 'signed by the new key', await sdk.again());
    // What an SDK has kept of the token before is of no use any more.
    for (const place of places) await writeFile(place.file, 'out of date');
    for (const place of places) await project(place);
    for (const { name, place, sdk } of running) judge(name, place, 'token file written again', await sdk.again());
  });

  test('the SDKs are served with the server dead and the API server gone', async () => {
    await server.stop('SIGKILL');
    await node.world.api.listener.stop();
    for (const { name, place, sdk } of running) judge(name, place, 'nobody to ask', await sdk.again());
    assert.deepEqual(node.strangers(), [], 'nobody but the node asks the real metadata service');
  });
});
