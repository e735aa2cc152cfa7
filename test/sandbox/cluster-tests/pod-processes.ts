import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, sleep } from '#runtime/clock.ts';
import { type Child, startChild } from '../child.ts';
import { at, type Json, listAt, textAt } from '../json.ts';
import type { KubernetesApi } from '../kubernetes-api/api.ts';
import type { SandboxPod } from '../kubernetes-api/kubelet.ts';
import { type Command, commandOf, type ContainerPlace, type Image, textsOf } from './container.ts';
import { type Probe, readinessProbe, succeeds } from './probe.ts';
import { accountOf, mountVolumes } from './volumes.ts';

export interface PodProcessesOptions {
  readonly clock: Clock;
  readonly api: KubernetesApi;
  readonly pod: SandboxPod;
  readonly images: Readonly<Record<string, Image>>;
  /** An existing folder of this pod's own. */
  readonly folder: string;
  readonly exec: readonly string[];
  /** The interpreter, for probes. */
  readonly node: readonly string[];
}

/** How soon a container that ended is started again; a kubelet waits longer and longer. */
const RESTART_MS = 1000;
const VOLUME_RETRY_MS = 200;

/** Runs the containers of one pod whose images are known, until it is stopped, and says when the pod is ready. */
export class PodProcesses {
  readonly #options: PodProcessesOptions;
  readonly #stopping = new AbortController();
  /** All that were started, also those that have ended. */
  readonly #children: Child[] = [];
  readonly #remarks: string[] = [];
  readonly #running: Promise<void>;

  constructor(options: PodProcessesOptions) {
    this.#options = options;
    this.#running = this.#run().catch((error: unknown) => {
      this.#remarks.push(`the pod cannot run: ${String(error)}`);
    });
  }

  /** All that its containers have said, and what became of them. */
  log(): readonly string[] {
    return [...this.#children.flatMap(({ lines }) => lines), ...this.#remarks];
  }

  /** Ends every container as a kubelet does: SIGTERM, and SIGKILL when the grace period is over. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const graceSeconds = Number(at(this.#options.pod.spec, 'terminationGracePeriodSeconds') ?? 30);
    await Promise.all(this.#children.map((child) => child.stop('SIGTERM', graceSeconds * 1000)));
    await this.#running;
  }

  stopSync(): void {
    for (const child of this.#children) child.process.kill('SIGKILL');
  }

  async #run(): Promise<void> {
    const { pod } = this.#options;
    const { signal } = this.#stopping;
    // The kubelet shows the pod first.
    await this.#pause(0);
    const place = await this.#place();
    for (const container of listAt(pod.spec, 'initContainers')) {
      while (!signal.aborted && !(await this.#runOnce(container, place))) await this.#pause(RESTART_MS);
    }
    await Promise.all(listAt(pod.spec, 'containers').map((container) => this.#keepRunning(container, place)));
  }

  /** Waits for the volumes, as a pod does whose Secrets are not there yet. */
  async #place(): Promise<ContainerPlace> {
    const { api, pod, folder, exec } = this.#options;
    let volumes = await mountVolumes(api, pod, folder);
    while (volumes === undefined) {
      await this.#pause(VOLUME_RETRY_MS);
      this.#stopping.signal.throwIfAborted();
      volumes = await mountVolumes(api, pod, folder);
    }
    const kubeconfig =
      at(pod.spec, 'automountServiceAccountToken') === false ? undefined : join(folder, 'service-account.kubeconfig');
    if (kubeconfig !== undefined)
      await writeFile(kubeconfig, api.serviceAccountKubeconfig(accountOf(pod)), { mode: 0o600 });
    return { pod, exec, volumes, kubeconfig };
  }

  /** An init container; whether it ended well. */
  async #runOnce(container: Json, place: ContainerPlace): Promise<boolean> {
    const image = this.#options.images[textAt(container, 'image')];
    if (image === undefined) return true;
    const { code } = await this.#start(commandOf(container, image, place, textsOf(listAt(container, 'args')))).exited;
    return code === 0;
  }

  async #keepRunning(container: Json, place: ContainerPlace): Promise<void> {
    const image = this.#options.images[textAt(container, 'image')];
    const { signal } = this.#stopping;
    if (image === undefined) return this.#setReady(true);
    const command = (words: readonly string[]): Command => commandOf(container, image, place, words);
    const address = place.pod.addresses[0] ?? '';
    const { node } = this.#options;
    const probe = readinessProbe(container, { node, exec: place.exec, address, commandOf: command });
    while (!signal.aborted) {
      const child = this.#start(command(textsOf(listAt(container, 'args'))));
      const ended = new AbortController();
      void child.exited.then(() => ended.abort());
      await this.#followReadiness(probe, ended.signal);
      const { code } = await child.exited;
      this.#setReady(false);
      if (signal.aborted) return;
      this.#remarks.push(`${textAt(container, 'name')} ended with ${code} and is started again`);
      await this.#pause(RESTART_MS);
    }
  }

  /** Without a probe a container is ready while it runs. */
  async #followReadiness(probe: Probe | undefined, ended: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([ended, this.#stopping.signal]);
    if (probe === undefined) return this.#setReady(true);
    await sleep(this.#options.clock, probe.initialDelayMs, signal);
    let failures = 0;
    while (!signal.aborted) {
      failures = (await succeeds(probe.command)) ? 0 : failures + 1;
      if (signal.aborted) return;
      if (failures === 0) this.#setReady(true);
      else if (failures >= probe.failureThreshold) this.#setReady(false);
      await sleep(this.#options.clock, probe.periodMs, signal);
    }
  }

  #start({ argv, environment }: Command): Child {
    const child = startChild({ name: this.#options.pod.name, argv, environment });
    this.#children.push(child);
    if (this.#stopping.signal.aborted) void child.stop();
    return child;
  }

  #setReady(ready: boolean): void {
    const { api, pod } = this.#options;
    const current = api.pod(pod.namespace, pod.name);
    if (textAt(current, 'metadata', 'uid') !== pod.uid) return;
    const status = ready ? 'True' : 'False';
    const conditions = listAt(current, 'status', 'conditions').map((condition) =>
      ['Ready', 'ContainersReady'].includes(textAt(condition, 'type'))
        ? { type: textAt(condition, 'type'), status, lastTransitionTime: at(condition, 'lastTransitionTime') }
        : condition,
    );
    api.patchPod(pod.namespace, pod.name, { status: { conditions } });
  }

  async #pause(ms: number): Promise<void> {
    await sleep(this.#options.clock, ms, this.#stopping.signal);
  }
}
