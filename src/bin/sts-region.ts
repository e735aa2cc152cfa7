import type { Environment } from '#runtime/environment.ts';

import type { Parsed } from './flags/option.ts';
import { parseRegion } from './flags/values.ts';

/** Where the server asks STS. */
export interface StsRegion {
  /** `''` is the global endpoint. */
  readonly region: string;
  /** The flag or the variable that says so, for people; `''` where nothing names a region of its own. */
  readonly namedBy: string;
}

/**
 * The regions that Kiam's SDK asks at the global endpoint unless AWS_STS_REGIONAL_ENDPOINTS is `regional`:
 * aws-sdk-go 1.35.10, aws/endpoints/legacy_regions.go. It knows `aws-global` as the global endpoint itself.
 */
const LEGACY = new Set(
  (
    'ap-northeast-1 ap-south-1 ap-southeast-1 ap-southeast-2 ca-central-1 eu-central-1 eu-north-1 eu-west-1 eu-west-2 ' +
    'eu-west-3 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2'
  ).split(' '),
);
const GLOBAL = 'aws-global';

/**
 * The region of `--region`; without it what the environment says, as Kiam's SDK reads it. A value of the environment that this
 * SDK would refuse, or that is no region's name, is refused with the name of its variable.
 */
export function stsRegion(flag: string, environment: Environment): Parsed<StsRegion> {
  if (flag !== '') return { ok: true, value: { region: flag, namedBy: '--region' } };
  const variable = regionVariable(environment);
  if (variable === undefined) return { ok: true, value: { region: '', namedBy: '' } };
  const parsed = parseRegion(environment[variable] ?? '');
  if (!parsed.ok) return { ok: false, reason: `${variable} ${parsed.reason}` };
  const mode = (environment['AWS_STS_REGIONAL_ENDPOINTS'] || 'legacy').toLowerCase();
  if (mode !== 'legacy' && mode !== 'regional') {
    return { ok: false, reason: 'AWS_STS_REGIONAL_ENDPOINTS is neither legacy nor regional' };
  }
  const region = parsed.value;
  const isGlobal = region === GLOBAL || (mode === 'legacy' && LEGACY.has(region));
  return { ok: true, value: isGlobal ? { region: '', namedBy: '' } : { region, namedBy: variable } };
}

/** The variable that names a region: aws-sdk-go 1.35.10, aws/session/env_config.go. An empty one is none. */
function regionVariable(environment: Environment): 'AWS_REGION' | 'AWS_DEFAULT_REGION' | undefined {
  if (environment['AWS_REGION']) return 'AWS_REGION';
  const loadsConfig = /^(?:1|t|T|true|TRUE|True)$/.test(environment['AWS_SDK_LOAD_CONFIG'] ?? '');
  return loadsConfig && environment['AWS_DEFAULT_REGION'] ? 'AWS_DEFAULT_REGION' : undefined;
}
