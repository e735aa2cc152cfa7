import type { MetadataAnswer } from '#metadata/answer.ts';
import type { MetadataClient } from '#metadata/client.ts';
import type { Clock } from '#runtime/clock.ts';

import { askHttp, placeOf } from './ask-http.ts';
import { type ClockReading, readClock } from './clock.ts';
import { type Observation, cannotTell, ok, wrong } from './finding.ts';

export interface MetadataServiceOptions {
  readonly metadata: Pick<MetadataClient, 'get'>;
  /** `--metadata-endpoint` */
  readonly endpoint: string;
  /** Whether the daemon shares the node's network, as agents do. */
  readonly onHostNetwork: boolean;
  /** Whether the daemon reads without a token where the request for one is not answered, as the server does. */
  readonly readsWithoutToken: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface MetadataServiceReport {
  readonly observations: readonly Observation[];
  readonly clock: ClockReading | undefined;
}

const INSTANCE_ID = '/latest/meta-data/instance-id';

const FIX_NETWORK =
  'give the server the host’s network (`hostNetwork: true` with `dnsPolicy: ClusterFirstWithHostNet`, as the manifests do), or ' +
  'do without the metadata service: --role-base-arn, and IRSA or Pod Identity for the server';

/**
 * Checks the real metadata service as the daemon reaches it, and its hop limit as far as that shows from here. Never rejects.
 */
export async function checkMetadataService(options: MetadataServiceOptions): Promise<MetadataServiceReport> {
  const { metadata, clock, signal } = options;
  const outcome = await metadata.get(INSTANCE_ID, { signal });
  if (outcome.ok) {
    return {
      observations: judgeAnswer(options, outcome.answer),
      clock: readClock('the metadata service', outcome.answer.headers['date'], clock.now()),
    };
  }
  // The hop limit is that of tokens alone; whatever else it answers gets here:
  // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceMetadataOptionsRequest.html
  const bare = await askHttp({ ...placeOf(options.endpoint, options), path: INSTANCE_ID });
  if (outcome.reason === 'timed out' && bare.ok) {
    return { observations: [judgeBareAnswer(options, bare.status)], clock: undefined };
  }
  const fix = 'is this an EC2 instance with HttpEndpoint=enabled, and is --metadata-endpoint right?';
  return { observations: [wrong(`${options.endpoint}: ${outcome.message}`, fix)], clock: undefined };
}

/** Of the service that answers a read without a token, and no request for one. */
function judgeBareAnswer({ readsWithoutToken }: MetadataServiceOptions, status: number): Observation {
  if (readsWithoutToken && status === 200) {
    return ok('it is read without a token, which HttpTokens=required would end: its hop limit is 1');
  }
  const says =
    'it answers, but its tokens do not arrive here: its hop limit is 1, and this container is one hop further';
  return wrong(says, FIX_NETWORK);
}

function judgeAnswer({ endpoint, onHostNetwork }: MetadataServiceOptions, answer: MetadataAnswer): Observation[] {
  const body = answer.body.toString('utf8').trim();
  if (answer.status === 200) {
    const hopLimit = onHostNetwork
      ? cannotTell('its hop limit cannot be seen from the node’s own network', FIX_SEE_HOP_LIMIT)
      : ok('its tokens reach this container');
    return [ok(`${endpoint} answers: instance ${body.slice(0, 40)}`), hopLimit];
  }
  if (answer.status === 404 && body.includes('allow-route-regexp')) {
    const says = `an agent of Kiam answers in place of ${endpoint}, which is hidden from this container`;
    return [wrong(says, FIX_NETWORK)];
  }
  return [
    wrong(`${endpoint} answers ${answer.status}`, 'HttpEndpoint must be enabled, and HttpTokens may be required'),
  ];
}

const FIX_SEE_HOP_LIMIT =
  'it should be 1 where pods run: `kiam doctor pod` tells from a pod, `aws ec2 describe-instances --query ' +
  "'Reservations[].Instances[].MetadataOptions'` from anywhere";
