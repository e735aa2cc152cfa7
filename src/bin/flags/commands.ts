import { agentProblems, agentWarnings } from './agent.ts';
import { command } from './command.ts';
import { explainProblems } from './explain.ts';
import { KUBE2IAM_OPTIONS, kube2iamProblems } from './kube2iam.ts';
import { exportProblems } from './export.ts';
import { pkiProblems } from './pki.ts';
import { sessionProblems } from './sessions.ts';
import { serverProblems, serverWarnings } from './server.ts';
import {
  AGENT_OPTIONS,
  CONVERT_OPTIONS,
  DOCTOR_AGENT_OPTIONS,
  DOCTOR_CLUSTER_OPTIONS,
  DOCTOR_POD_OPTIONS,
  DOCTOR_SERVER_OPTIONS,
  EXPLAIN_OPTIONS,
  EXPORT_OPTIONS,
  HEALTH_OPTIONS,
  PKI_OPTIONS,
  POLICY_OPTIONS,
  SERVER_OPTIONS,
  WHOIS_OPTIONS,
  STATUS_OPTIONS,
} from './table.ts';

const AGENT_RULES = {
  problems: agentProblems,
  warnings: agentWarnings,
  // The guard needs neither certificates nor an address: it rejects whoever asks and whatever for. Nor does its removal.
  needsNothing: ({ guardOnly, uninstall }: { readonly guardOnly: boolean; readonly uninstall: boolean }): boolean =>
    guardOnly || uninstall,
};

/** Every command but the doctor. */
export const COMMANDS = {
  agent: command('agent', 'Answer the metadata API for the pods of this node', AGENT_OPTIONS, AGENT_RULES),
  server: command('server', 'Decide which pod may have which role, and assume roles at STS', SERVER_OPTIONS, {
    problems: serverProblems,
    warnings: serverWarnings,
  }),
  health: command('health', 'Check whether a server is healthy; exit 0 or 1', HEALTH_OPTIONS),
  pki: command('pki', 'Make the certificates of both daemons, and print them as two Secrets', PKI_OPTIONS, {
    problems: pkiProblems,
  }),
  policy: command('policy', 'Print the admission policy that finds mistakes when objects are applied', POLICY_OPTIONS),
  kube2iam: command('kube2iam', 'Take the place of kube2iam on this node, with its flags', KUBE2IAM_OPTIONS, {
    problems: kube2iamProblems,
  }),
  convert: command('convert', 'Print what replaces a DaemonSet of kube2iam, or its lists of roles', CONVERT_OPTIONS, {
    problems: ({ file, namespaces, roleBaseArn }) => [
      ...(namespaces || file !== '' ? [] : ['-f must name the DaemonSet of kube2iam, or the values of its chart']),
      ...(namespaces && roleBaseArn === undefined ? ['--namespaces needs --role-base-arn'] : []),
    ],
  }),
  explain: command('explain', 'Say what credentials one pod gets, and why', EXPLAIN_OPTIONS, {
    problems: explainProblems,
  }),
  status: command('status', 'Show what servers hold in memory: who fails and why, on one screen', STATUS_OPTIONS),
  export: command('export', 'Print how to move pods to EKS Pod Identity or IRSA, and back', EXPORT_OPTIONS, {
    problems: exportProblems,
  }),
  whois: command(
    'whois',
    'Say which pods have or had an access key id, by the audit logs of agents and the servers that run here',
    WHOIS_OPTIONS,
  ),
};

/** The targets of the doctor: a node, a server's container, a pod, or a cluster by its API server. */
export const DOCTOR = {
  agent: command('agent', 'this node, with the flags of its agent', DOCTOR_AGENT_OPTIONS, AGENT_RULES),
  server: command('server', "the server's own container, with the flags of the server", DOCTOR_SERVER_OPTIONS, {
    problems: serverProblems,
  }),
  pod: command('pod', 'the way to credentials as a pod has it, from inside that pod', DOCTOR_POD_OPTIONS),
  cluster: command(
    'cluster',
    'pods and namespaces, read with a kubeconfig or the service account of a pod',
    DOCTOR_CLUSTER_OPTIONS,
    { problems: sessionProblems },
  ),
};

export const DOCTOR_DESCRIPTION = 'Check everything that can be wrong and say how to fix it; exit 0 or 1';

export type DoctorTarget = keyof typeof DOCTOR;
export type CommandName = keyof typeof COMMANDS | 'doctor';
