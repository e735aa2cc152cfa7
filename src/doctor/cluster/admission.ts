import { ADMISSION_POLICY, type AdmissionOptions, admissionManifests } from '#admission/admission-policy.ts';
import type { Binding } from '#domain/service-account.ts';
import type { KubernetesConnection } from '#kubernetes/connection.ts';
import { field, listField, textField } from '#kubernetes/json-fields.ts';
import { readObject } from '#kubernetes/object-reader.ts';

import { type Observation, cannotTell, ok, wrong } from '../finding.ts';

export interface AdmissionCheckOptions {
  /** Undefined where it is not known: the parameters are then not compared. */
  readonly baseArn: string | undefined;
  readonly strict: boolean;
  readonly binding: Binding;
  readonly allowedTags: readonly string[];
  readonly signal: AbortSignal;
}

const POLICIES = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies';
const BINDINGS = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings';

/** Whether the admission policy of `kiam policy` is there and judges as servers with these flags do. Never rejects. */
export async function checkAdmission(
  connection: KubernetesConnection,
  { baseArn, strict, binding: bound, allowedTags, signal }: AdmissionCheckOptions,
): Promise<Observation[]> {
  const read = (path: string) => readObject<unknown>({ connection, path, parse: (object) => object, signal });
  const policy = await read(`${POLICIES}/${ADMISSION_POLICY}`);
  if (policy.kind === 'unknown') return [cannotTell(policy.reason, 'read it as somebody who may')];
  if (policy.kind === 'gone') {
    return [ok('no admission policy is installed: mistakes show when pods run (kiam policy prints one)')];
  }
  const binding = await read(`${BINDINGS}/${ADMISSION_POLICY}`);
  if (binding.kind !== 'found') return [wrong(`the admission policy is not bound, so that it judges nothing`, APPLY)];
  const actions = listField(field(binding.value, 'spec'), 'validationActions').join(', ');
  const options: AdmissionOptions = {
    action: actions.includes('Deny') ? 'deny' : 'warn',
    namespace: textField(field(field(binding.value, 'spec'), 'paramRef'), 'namespace'),
    baseArn: baseArn ?? '',
    strict,
    binding: bound,
    // Only the servers know whether they have the flag: it is not compared.
    containerCredentials: false,
    allowedTags,
  };
  const observations: Observation[] = [];
  const [parameters, ...manifests] = admissionManifests(options);
  const ours = manifests.find(({ kind }) => kind === 'ValidatingAdmissionPolicy');
  if (judgement(policy.value) !== judgement(ours)) {
    observations.push(wrong('the admission policy is that of another version of Kiam', APPLY));
  }
  const installed = await read(`/api/v1/namespaces/${options.namespace}/configmaps/${ADMISSION_POLICY}`);
  if (installed.kind !== 'found') {
    observations.push(wrong('the parameters of the admission policy are not there, so that it judges nothing', APPLY));
  } else if (baseArn !== undefined) {
    observations.push(...differences(field(installed.value, 'data'), field(parameters, 'data')));
  }
  return observations.length > 0 ? observations : [ok(`the admission policy judges as the servers do (${actions})`)];
}

const APPLY = 'kiam policy --role-base-arn=ARN | kubectl apply -f -, with the flags that the servers have';

/** What decides in a policy; the API server adds fields of its own. */
function judgement(policy: unknown): string {
  const spec = field(policy, 'spec');
  const variables = listField(spec, 'variables').map((variable) => [
    textField(variable, 'name'),
    textField(variable, 'expression'),
  ]);
  const validations = listField(spec, 'validations').map((validation) => textField(validation, 'expression'));
  return JSON.stringify([variables, validations]);
}

function differences(installed: unknown, ours: unknown): Observation[] {
  return ['baseArn', 'strict', 'binding', 'allowedSessionTags'].flatMap((name) => {
    const [theirs, expected] = [textField(installed, name), textField(ours, name)];
    if (theirs === expected) return [];
    return [wrong(`the admission policy judges with ${name} ${theirs}, the servers with ${expected}`, APPLY)];
  });
}
