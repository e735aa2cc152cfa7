import type { Child } from '../child.ts';
import type { World, WorldPod } from '../world.ts';

/** How a program is run in a pod's place: words that go before its own, and what its environment must hold. */
export interface PodPlace {
  readonly prefix: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export interface StagePrograms {
  /** The interpreter with its own flags; the files below are its arguments. */
  readonly node: readonly string[];
  /** `bin/kiam.ts` */
  readonly kiam: string;
  /** `programs/listen-inside.ts` */
  readonly listenInside: string;
  /** `programs/from-address.ts`, a module to load before a program. */
  readonly fromAddress: string;
}

export interface StageOptions {
  readonly programs: StagePrograms;
  /** An existing folder, which the caller removes. */
  readonly folder: string;
  /** PATH for the programs. */
  readonly path: string;
  readonly pid: number;
}

export interface StageDaemon {
  readonly child: Child;
  /** `/metrics`, `/live` and `/ready`, as seen from the node. */
  readonly metricsUrl: string;
}

/** The stand-in world with a node in it, on which the daemons run as in a cluster. */
export interface Stage {
  readonly kind: 'namespaces' | 'loopback';
  /** What a reader should know about it, in one line. */
  readonly description: string;
  readonly world: World;
  /** Where pods find the metadata service. */
  readonly metadataUrl: string;
  /** Words that go before a command that is to run on the node. */
  readonly nodePrefix: readonly string[];
  startServer(): Promise<StageDaemon>;
  startAgent(): Promise<StageDaemon>;
  /** `kiam kube2iam`, in place of server and agent. */
  startKube2iam(): Promise<StageDaemon>;
  /** Ends the agent, or `kiam kube2iam`, with SIGKILL: it closes nothing and removes nothing. */
  killAgent(): Promise<void>;
  /** Where the pod's programs run. */
  placeOf(pod: WorldPod): PodPlace;
  /** Ends every daemon and takes everything down; may be called twice. */
  close(): Promise<void>;
  /** Kills the daemons, for an exit handler. */
  closeSync(): void;
}
