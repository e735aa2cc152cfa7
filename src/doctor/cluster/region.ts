import { type Observation, ok, wrong } from '../finding.ts';

/** Regions of other partitions than `aws`, by what their names begin with: the SDK's table of endpoints. */
const PARTITIONS: readonly (readonly [beginning: string, partition: string])[] = [
  ['cn-', 'aws-cn'],
  ['us-gov-', 'aws-us-gov'],
  ['us-isob-', 'aws-iso-b'],
  ['us-isof-', 'aws-iso-f'],
  ['us-iso-', 'aws-iso'],
  ['eu-isoe-', 'aws-iso-e'],
  ['eusc-', 'aws-eusc'],
];

export interface RegionInUse {
  /** `''` is the global endpoint. */
  readonly region: string;
  /** The flag or the variable that names the region. */
  readonly namedBy: string;
}

/** Whether the STS endpoint is one of the partition that roles are in; the global endpoint is that of `aws`. */
export function checkRegion(
  { region, namedBy }: RegionInUse,
  baseArn: string | undefined,
  endpoint: string,
): Observation[] {
  const [, partition = 'aws'] = baseArn?.split(':') ?? [];
  const ofRegion = PARTITIONS.find(([beginning]) => region.startsWith(beginning))?.[1] ?? 'aws';
  if (baseArn === undefined || partition === ofRegion) return [ok(`STS is asked at ${endpoint}`)];
  const flag = region === '' ? 'without --region STS is asked at the global endpoint' : `${namedBy}=${region}`;
  const fix = `give --region one of the partition ${partition}, or a --role-base-arn that begins with arn:${ofRegion}:`;
  return [wrong(`${flag}, of the partition ${ofRegion}, while roles are ${baseArn}…`, fix)];
}
