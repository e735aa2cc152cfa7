import type { WorkloadPod } from '#domain/workload.ts';

import { field, listField, textField } from './json-fields.ts';
import { createPodParser } from './pod-record.ts';

/** Set on each pod that runs on Fargate: https://docs.aws.amazon.com/eks/latest/userguide/fargate-profile.html */
const FARGATE_LABEL = 'eks.amazonaws.com/fargate-profile';

/**
 * Set by a Deployment's controller:
 * https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label
 */
const TEMPLATE_HASH_LABEL = 'pod-template-hash';

/** Makes the reader of pods with what owns them and on what they run; undefined for what has no UID, name or namespace. */
export function createWorkloadParser(): (value: unknown) => WorkloadPod | undefined {
  const parsePod = createPodParser();
  return (value) => {
    const pod = parsePod(value);
    if (pod === undefined) return undefined;
    const metadata = field(value, 'metadata');
    const labels = field(metadata, 'labels');
    const spec = field(value, 'spec');
    const system = textField(field(spec, 'os'), 'name') || textField(field(spec, 'nodeSelector'), 'kubernetes.io/os');
    return {
      ...pod,
      owner: ownerOf(listField(metadata, 'ownerReferences'), textField(labels, TEMPLATE_HASH_LABEL)),
      fargate: textField(labels, FARGATE_LABEL) !== '' || pod.nodeName.startsWith('fargate-'),
      windows: system === 'windows',
    };
  };
}

function ownerOf(references: readonly unknown[], templateHash: string): string {
  const controller = references.find((reference) => field(reference, 'controller') === true);
  const kind = textField(controller, 'kind');
  const name = textField(controller, 'name');
  if (kind === 'StatefulSet' || kind === 'DaemonSet') return `${kind.toLowerCase()}/${name}`;
  const end = `-${templateHash}`;
  const isOfDeployment = kind === 'ReplicaSet' && templateHash !== '' && name.endsWith(end);
  return isOfDeployment ? `deployment/${name.slice(0, -end.length)}` : '';
}
