import { stringify } from 'yaml';

import { admissionManifests } from '#admission/admission-policy.ts';

import type { FlagsOf } from './flags/option.ts';
import type { POLICY_OPTIONS } from './flags/table.ts';

const NO_LINE_BREAKS = { lineWidth: 0 };

/** Prints the manifests for `kubectl apply -f -`. */
export function runPolicy({ flags }: { readonly flags: FlagsOf<typeof POLICY_OPTIONS> }): void {
  const {
    action,
    namespace,
    roleBaseArn: baseArn,
    disableStrictNamespaceRegexp,
    binding,
    containerCredentials,
    allowedSessionTags: allowedTags,
  } = flags;
  const manifests = admissionManifests({
    action,
    namespace,
    baseArn,
    strict: !disableStrictNamespaceRegexp,
    binding,
    containerCredentials,
    allowedTags,
  });
  process.stdout.write(manifests.map((manifest) => stringify(manifest, NO_LINE_BREAKS)).join('---\n'));
}
