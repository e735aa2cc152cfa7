import { parseHostAddresses } from '#agent/interception/host-addresses.ts';
import type { HostAddresses } from '#agent/interception/host-addresses.ts';
import { AGENT_OPTIONS } from './agent-options.ts';
import { agentFlags, agentProblems } from './agent.ts';
import type { AgentFlags } from './agent.ts';
import { booleanOption } from './option.ts';
import type { Option, Options, OptionValues } from './option.ts';
import { readOptions } from './read-options.ts';
import type { Words } from './read-options.ts';
import { SERVER_OPTIONS } from './server-options.ts';
import { serverFlags, serverProblems } from './server.ts';
import type { ServerFlags } from './server.ts';

/** From where it is looked: a node, a server's container, a pod, or wherever the API server can be asked. */
export type DoctorTarget = 'agent' | 'server' | 'pod' | 'cluster';

interface EveryTarget {
  /** One JSON document in the place of lines. */
  readonly json: boolean;
}

export type DoctorFlags = EveryTarget & (DoctorAgentFlags | DoctorServerFlags | DoctorPodFlags | DoctorClusterFlags);

/** What is wrong with a daemon's own flags is one of the things that are looked for. */
interface DaemonFlags {
  readonly problems: readonly string[];
  /** The arguments as given, for the report. */
  readonly given: string;
}

export interface DoctorAgentFlags extends DaemonFlags {
  readonly target: 'agent';
  readonly agent: AgentFlags;
  /** Also without `--iptables`; undefined where `--host` says nothing that can be redirected to. */
  readonly hostAddresses: HostAddresses | undefined;
  readonly beforeStart: boolean;
}

export interface DoctorServerFlags extends DaemonFlags {
  readonly target: 'server';
  readonly server: ServerFlags;
  readonly assumesRoles: boolean;
}

export interface DoctorPodFlags {
  readonly target: 'pod';
  readonly metadataEndpoint: string;
}

export interface DoctorClusterFlags {
  readonly target: 'cluster';
  readonly kubeconfig: string;
  /** `''` when it is not given. */
  readonly baseArn: string;
  readonly strict: boolean;
  readonly comparesKiam: boolean;
}

const DOCTOR = 'Doctor';

const EVERY_TARGET = {
  json: booleanOption({ group: DOCTOR, describe: 'Print one JSON document instead of lines', default: false }),
};

/** Files are looked at by the checks, which say more of them than that they are not there. */
function anyPath(option: Option<string>): Option<string> {
  return { ...option, parse: (text) => ({ ok: true, value: text }) };
}

const ANY_TLS_FILES = {
  cert: anyPath(AGENT_OPTIONS.cert),
  key: anyPath(AGENT_OPTIONS.key),
  ca: anyPath(AGENT_OPTIONS.ca),
};

const DOCTOR_AGENT_OPTIONS = {
  ...EVERY_TARGET,
  'before-start': booleanOption({
    group: DOCTOR,
    describe: 'For an init container: what the agent puts in place itself is not missed yet',
    default: false,
  }),
  ...AGENT_OPTIONS,
  ...ANY_TLS_FILES,
};

const DOCTOR_SERVER_OPTIONS = {
  ...EVERY_TARGET,
  'assume-roles': booleanOption({
    group: DOCTOR,
    describe: 'Really assume each role in use, for 15 minutes and without any permission',
    default: true,
  }),
  ...SERVER_OPTIONS,
  ...ANY_TLS_FILES,
  kubeconfig: anyPath(SERVER_OPTIONS.kubeconfig),
};

const DOCTOR_POD_OPTIONS = { ...EVERY_TARGET, 'metadata-endpoint': AGENT_OPTIONS['metadata-endpoint'] };

const DOCTOR_CLUSTER_OPTIONS = {
  ...EVERY_TARGET,
  'compare-kiam': booleanOption({
    group: DOCTOR,
    describe: 'Say which pods and namespaces uswitch/kiam answers otherwise, before a migration',
    default: false,
  }),
  kubeconfig: anyPath(SERVER_OPTIONS.kubeconfig),
  'role-base-arn': SERVER_OPTIONS['role-base-arn'],
  'disable-strict-namespace-regexp': SERVER_OPTIONS['disable-strict-namespace-regexp'],
};

export const DOCTOR_OPTIONS: Readonly<Record<DoctorTarget, Options>> = {
  agent: DOCTOR_AGENT_OPTIONS,
  server: DOCTOR_SERVER_OPTIONS,
  pod: DOCTOR_POD_OPTIONS,
  cluster: DOCTOR_CLUSTER_OPTIONS,
};

export interface ReadDoctor {
  readonly flags: DoctorFlags;
  /** What keeps it from looking at all. */
  readonly problems: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads the flags for a target; `stray` are words that it does not know. */
export function readDoctor(target: DoctorTarget, words: Words, env: Environment, stray: readonly string[]): ReadDoctor {
  if (target === 'agent') return { flags: readAgent(words, env, stray), problems: [] };
  if (target === 'server') return { flags: readServer(words, env, stray), problems: [] };
  if (target === 'pod') {
    const { values, problems } = readOptions(DOCTOR_POD_OPTIONS, words, env);
    const flags = { target, json: values.json, metadataEndpoint: values['metadata-endpoint'] };
    return { flags, problems: [...stray, ...problems] };
  }
  const { values, problems } = readOptions(DOCTOR_CLUSTER_OPTIONS, words, env);
  return { flags: clusterFlags(values), problems: [...stray, ...problems] };
}

function readAgent(words: Words, env: Environment, stray: readonly string[]): DoctorFlags {
  const { values, missing, problems } = readOptions(DOCTOR_AGENT_OPTIONS, words, env);
  const needed = values['guard-only'] ? [] : missing;
  const targets = values.host.length === 0 ? undefined : parseHostAddresses(values.host.join(','));
  return {
    target: 'agent',
    json: values.json,
    problems: [...stray, ...needed.map((name) => `--${name} must be given`), ...problems, ...agentProblems(values)],
    given: givenTo(words),
    agent: agentFlags(values),
    hostAddresses: targets?.ok === true ? targets.addresses : undefined,
    beforeStart: values['before-start'],
  };
}

function readServer(words: Words, env: Environment, stray: readonly string[]): DoctorFlags {
  const { values, given, missing, problems } = readOptions(DOCTOR_SERVER_OPTIONS, words, env);
  const needed = missing.map((name) => `--${name} must be given`);
  return {
    target: 'server',
    json: values.json,
    problems: [...stray, ...needed, ...problems, ...serverProblems(values, given)],
    given: givenTo(words),
    server: serverFlags(values),
    assumesRoles: values['assume-roles'],
  };
}

function clusterFlags(values: OptionValues<typeof DOCTOR_CLUSTER_OPTIONS>): DoctorFlags {
  return {
    target: 'cluster',
    json: values.json,
    kubeconfig: values.kubeconfig,
    baseArn: values['role-base-arn'] ?? '',
    strict: !values['disable-strict-namespace-regexp'],
    comparesKiam: values['compare-kiam'],
  };
}

function givenTo({ tokens }: Words): string {
  return tokens.filter((token) => token !== 'doctor').join(' ');
}
