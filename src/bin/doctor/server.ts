import { createOwnCredentials } from '#aws/own-credentials.ts';
import type { Check } from '#doctor/check.ts';
import { checkAccess, serverAccess } from '#doctor/cluster/access.ts';
import { checkIdentity, checkInheritedTags } from '#doctor/cluster/aws-identity.ts';
import { identitiesInUse, checkNamespaces } from '#doctor/cluster/namespaces.ts';
import { checkPods } from '#doctor/cluster/pods.ts';
import { checkWays } from '#doctor/cluster/ways.ts';
import { checkServiceAccounts } from '#doctor/cluster/service-accounts.ts';
import { checkRegion } from '#doctor/cluster/region.ts';
import { checkRoles } from '#doctor/cluster/roles.ts';
import { checkFreshness, checkWatch, watchedResources } from '#doctor/cluster/watch.ts';
import { cannotTell, ok, wrong } from '#doctor/finding.ts';
import { checkMetadataService } from '#doctor/metadata-service.ts';
import type { KubernetesConnection } from '#kubernetes/connection.ts';
import { listReader } from '#kubernetes/namespace-record.ts';
import { createMetadataClient } from '#metadata/client.ts';
import { createProxyOf } from '#proxy/rules.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#telemetry/logger.ts';

import { createDetectionClient, detectBaseArn } from '../base-arn.ts';
import type { DoctorLine } from '../flags/command-line.ts';
import type { ServerFlags } from '../flags/server.ts';
import { sessionRules } from '../flags/sessions.ts';
import { ownCredentialsOptions } from '../own-credentials.ts';
import { stsRegion } from '../sts-region.ts';
import { clusterCheck, connect, readOnce, type ReadOnce } from './cluster.ts';
import { certificatesCheck, clockCheck, daemonCheck, flagsCheck, type Found } from './daemon-checks.ts';
import { report } from './report.ts';

type DoctorServerLine = Extract<DoctorLine, { kind: 'server' }>;

interface ServerFound extends Found {
  /** What stands before short role names; undefined until and unless it is known. */
  baseArn: string | undefined;
}

const QUIET = createLogger({ json: false, level: 'error', write: () => {} });

/** `kiam doctor server`: checks everything that the server needs, from its own container. */
export async function runDoctorServer({ flags, problems, given }: DoctorServerLine): Promise<void> {
  const found: ServerFound = { snapshot: undefined, clocks: [], baseArn: undefined };
  const { connection, check } = connect(flags.kubeconfig);
  const known = () => ({
    baseArn: found.baseArn,
    strict: !flags.disableStrictNamespaceRegexp,
    listFormat: flags.namespaceRestrictionFormat,
    binding: flags.binding,
    allowedTags: flags.allowedSessionTags,
    sessions: sessionRules(flags),
    containerCredentials: flags.containerCredentials,
  });
  const parseNamespace = listReader(flags.namespacePolicy);
  const cluster = connection && readOnce(connection, known, parseNamespace);
  await report(
    [
      flagsCheck(problems, given),
      daemonCheck(flags.prometheusListenAddr),
      // What our manifests dial.
      certificatesCheck(flags, 'server', found, 'kiam-server'),
      check,
      ...(connection === undefined ? [] : kubernetesChecks(connection, flags, found)),
      baseArnCheck(flags, found),
      ...awsChecks(flags, found, cluster),
      ...(cluster === undefined
        ? []
        : [
            clusterCheck('pods', cluster, checkPods),
            clusterCheck('ways', cluster, checkWays),
            clusterCheck('namespaces', cluster, checkNamespaces),
            clusterCheck('service accounts', cluster, checkServiceAccounts),
          ]),
      clockCheck(found),
    ],
    flags,
  );
}

function kubernetesChecks(connection: KubernetesConnection, flags: ServerFlags, found: ServerFound): Check[] {
  const { binding, nodeReadiness } = flags;
  const needed = serverAccess({ reviewsTokens: flags.agentIdentity === 'token', binding, nodeReadiness });
  const { maxViewAgeMs, prometheusListenAddr: address } = flags;
  const resources = watchedResources(flags.binding);
  return [
    { name: 'access', look: (signal) => checkAccess(connection, needed, signal) },
    {
      name: 'watch',
      look: async (signal) => {
        const reports = await Promise.all(
          resources.map((resource) => checkWatch(connection, resource, { clock: systemClock, signal })),
        );
        const [clock] = reports.flatMap((one) => one.clock ?? []);
        if (clock !== undefined) found.clocks.push(clock);
        const fresh = await checkFreshness({ address, maxViewAgeMs, resources, clock: systemClock, signal });
        return [...reports.flatMap(({ observations }) => observations), ...fresh];
      },
    },
  ];
}

function baseArnCheck(flags: ServerFlags, found: ServerFound): Check {
  return {
    name: 'base ARN',
    look: async (signal) => {
      if (!flags.roleBaseArnAutodetect) {
        if (flags.roleBaseArn === undefined) return [];
        found.baseArn = flags.roleBaseArn;
        return [ok(`--role-base-arn says ${flags.roleBaseArn}`)];
      }
      const endpoint = flags.metadataEndpoint;
      const metadata = createMetadataClient({ endpoint, clock: systemClock });
      const at = { endpoint, onHostNetwork: false, readsWithoutToken: true };
      const options = { ...at, metadata, clock: systemClock, signal };
      const { observations, clock } = await checkMetadataService(options);
      if (clock !== undefined) found.clocks.push(clock);
      metadata.close();
      if (observations.some(({ verdict }) => verdict === 'wrong')) return observations;
      const detecting = createDetectionClient(endpoint, systemClock);
      const detected = await detectBaseArn(detecting, signal);
      detecting.close();
      if (!detected.ok) return [...observations, wrong(detected.reason, 'give --role-base-arn, or the node a profile')];
      found.baseArn = detected.text;
      return [...observations, ok(`the instance profile says ${detected.text}`)];
    },
  };
}

function awsChecks(flags: DoctorServerLine['flags'], found: ServerFound, cluster: ReadOnce | undefined): Check[] {
  const at = stsRegion(flags.region, process.env);
  const region = at.ok ? at.value.region : '';
  const open = () => {
    const options = { ...ownCredentialsOptions(flags, found.baseArn ?? ''), clock: systemClock, logger: QUIET };
    return { roleArn: options.assumeRoleArn, own: createOwnCredentials(options), options };
  };
  return [
    {
      name: 'region',
      look: () => (at.ok ? checkRegion(at.value, found.baseArn, placeOfSts(region)) : [wrong(at.reason, FIX_REGION)]),
    },
    {
      name: 'identity',
      limitMs: 30_000,
      look: async (signal) => {
        if (flags.assumeRoleArn !== '' && found.baseArn === undefined && !flags.assumeRoleArn.startsWith('arn:')) {
          return [cannotTell('without a base ARN --assume-role-arn means nothing', 'see the line `base ARN`')];
        }
        const { roleArn, own, options } = open();
        const base = roleArn === '' ? own : createOwnCredentials({ ...options, assumeRoleArn: '' });
        const assumed = roleArn === '' ? undefined : { roleArn, credentials: own };
        const { baseArn } = found;
        return checkIdentity({ base, assumed, baseArn, endpoint: placeOfSts(region), signal });
      },
    },
    {
      name: 'session tags',
      look: () => checkInheritedTags(process.env['AWS_CONTAINER_CREDENTIALS_FULL_URI'], flags.sessionTags),
    },
    {
      name: 'roles',
      limitMs: 120_000,
      look: async (signal) => {
        const contents = await cluster?.(signal);
        if (contents === undefined || typeof contents === 'string') {
          return [cannotTell('which roles are in use is not known', 'see the line `access`')];
        }
        if (!flags.assumeRoles) return [cannotTell('with --no-assume-roles no role is tried', 'leave it out')];
        const identities = identitiesInUse(contents);
        return checkRoles({ own: open().own, identities, clock: systemClock, logger: QUIET, signal });
      },
    },
  ];
}

const FIX_REGION = 'correct or remove the variable, or give --region: the server does not start with it';

/** The endpoint of STS, and the proxy used for it. */
function placeOfSts(region: string): string {
  const endpoint = endpointOf(region);
  const url = URL.parse(endpoint);
  const proxy = url === null ? undefined : createProxyOf(process.env)(url);
  return proxy === undefined ? endpoint : `${endpoint} through the proxy ${proxy.host}`;
}

/**
 * In the order in which the SDK looks it up: https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html, and
 * then AWS's own.
 */
function endpointOf(region: string): string {
  const { AWS_ENDPOINT_URL_STS: ofSts, AWS_ENDPOINT_URL: ofAll } = process.env;
  const ofAws =
    region === '' ? 'sts.amazonaws.com' : `sts.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
  return ofSts ?? ofAll ?? `https://${ofAws}`;
}
