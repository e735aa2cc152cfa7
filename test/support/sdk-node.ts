import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { TestContext } from 'node:test';

import { ROLE_ANNOTATION } from '#domain/pod.ts';
import type { Child } from '#sandbox/child.ts';
import type { HttpListener } from '#sandbox/http-listener.ts';
import { WORLD_ADDRESS } from '#sandbox/network/addresses.ts';
import type { PodNamespace } from '#sandbox/network/network.ts';

import { createKernelNode, insideNamespace, type KernelNode, type KernelNodeOptions } from './kernel-node.ts';
import { startObjectStore } from './object-store.ts';
import { type RunningSdk, type Said, startSdk } from './running-sdk.ts';
import type { SdkProgram } from './sdk-programs.ts';
import type { Outcome } from './sdk-results.ts';

/** A node on which stock SDKs run as pods that nobody knows until they are announced. */
export interface SdkNode {
  readonly node: KernelNode;
  /** What the SDKs' programs are told of: the store of objects. */
  readonly environment: Readonly<Record<string, string>>;
  /** A pod's network; the API server is not told. */
  addPod(): Promise<PodNamespace>;
  /** Tells the API server of a pod of the namespace, as the kubelet does, by default with a role of its own name. */
  announce(pod: PodNamespace, name: string, more?: { readonly namespace?: string; readonly role?: string }): void;
  startSdk(t: TestContext, pod: PodNamespace, sdk: SdkProgram): Promise<RunningSdk>;
  remove(): Promise<void>;
}

const STORE_PORT = 9000;
/** Higher than those that the world hands out itself. */
const FIRST_ADDRESS = 100;
const LAST_ADDRESS = 250;

export async function createSdkNode(label: string, more: Partial<KernelNodeOptions> = {}): Promise<SdkNode> {
  const node = await createKernelNode({ label, backend: 'nft', ...more });
  const { world, network } = node;
  const open = insideNamespace(network.metadata);
  const store: HttpListener = await startObjectStore(
    { host: WORLD_ADDRESS, port: STORE_PORT, open },
    (key) => world.sts.identify(key)?.arn,
  );
  const environment = { KIAM_TEST_STORE: `http://${store.authority}` };
  let next = FIRST_ADDRESS;
  return {
    node,
    environment,
    addPod: async () => {
      // An address is used again only after so many others that nothing of the former pod is left.
      next = next === LAST_ADDRESS ? FIRST_ADDRESS : next + 1;
      return network.addPod(`198.18.1.${next}`);
    },
    announce: ({ address }, name, { namespace = 'team', role = `team/${name}` } = {}) => {
      const hostIP = network.node.address;
      const annotations = role === '' ? {} : { [ROLE_ANNOTATION]: role };
      world.api.putPod({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace, annotations },
        spec: { nodeName: 'node-1', containers: [{ name: 'main', image: 'example.com/app' }] },
        status: { phase: 'Running', hostIP, hostIPs: [{ ip: hostIP }], podIP: address, podIPs: [{ ip: address }] },
      });
    },
    startSdk: (t, { exec }, sdk) => startSdk(t, { world, podExec: exec }, sdk, environment),
    remove: async () => {
      await store.stop();
      await node.remove();
    },
  };
}

/** A runtime's start counts as well. */
const FIRST_PACKET_LIMIT_MS = 90_000;
const LOOK_MS = 2;

/** Resolves when the address has a connection in the network of a process, which that process's tables show. */
export async function firstPacket(address: string, pid: number): Promise<void> {
  const hex = Buffer.from(address.split('.').map(Number).reverse()).toString('hex').toUpperCase();
  const untilMs = performance.now() + FIRST_PACKET_LIMIT_MS;
  while (performance.now() < untilMs) {
    const tables = await Promise.all(['tcp', 'tcp6'].map((name) => readFile(`/proc/${pid}/net/${name}`, 'utf8')));
    if (tables.some((table) => table.includes(`${hex}:`))) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  assert.fail(`no packet from ${address}`);
}

/** The requests of an address that the agent has answered, by its log, which must be at debug level: `PUT /latest/api/token`. */
export function requestsOf(agent: Child, address: string): string[] {
  const request = /"addr":"([^"]*):\d+".*"method":"(\w+)".*"path":"([^"]*)"/;
  const found = agent.lines
    .filter((line) => line.includes('"msg":"processed request"'))
    .map((line) => request.exec(line))
    .filter((match) => match?.[1] === address);
  return found.map((match) => `${match?.[2]} ${match?.[3]}`);
}

/** What it says, and when. */
export async function timed(saying: Promise<Said>): Promise<{ readonly said: Said; readonly atMs: number }> {
  const said = await saying;
  return { said, atMs: performance.now() };
}

export function isServed({ arn }: Said, node: KernelNode, role: string): boolean {
  return arn === `arn:aws:sts::${node.world.accountId}:assumed-role/${role}/kiam-kiam`;
}

/** Lines for a person who reads the test's output: a client in each, what it met in the columns. */
export function tableOf(rows: ReadonlyMap<string, Readonly<Record<string, Outcome>>>): string[] {
  const heads = [...new Set([...rows.values()].flatMap((outcomes) => Object.keys(outcomes)))];
  const title = ['requests, time'.padEnd(14), ...heads.map((head) => head.padStart(20))].join(' ');
  return [
    title,
    ...[...rows].map(([name, outcomes]) => `${name.padEnd(14)} ${Object.values(outcomes).map(cellOf).join(' ')}`),
  ];
}

function cellOf({ served, requests, tookMs }: Outcome): string {
  return `${served ? 'served' : 'none'} ${String(requests).padStart(2)} ${tookMs.toFixed(0).padStart(5)} ms`.padStart(
    20,
  );
}
