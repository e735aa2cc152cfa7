import { COMMON_OPTIONS, MONITORING_OPTIONS } from './common.ts';
import {
  booleanOption,
  choiceParser,
  durationParser,
  integerParser,
  optionalOption,
  parseName,
  valueOption,
} from './option.ts';
import type { Option } from './option.ts';
import {
  parseAssumedRole,
  parseHttpOrigin,
  parseListen,
  parseOptionalFile,
  parseRegion,
  parseRoleBaseArn,
  parseSocketPath,
} from './values.ts';

/** How an agent is held to its own node's pods. */
export type AgentIdentityMode = 'off' | 'auto' | 'host-ip' | 'token';

const GRPC = 'gRPC';
const KUBERNETES = 'Kubernetes';
const AWS = 'AWS';
const POLICY = 'Policy';

const connectionBound = (describe: string): Option<number> =>
  valueOption({ group: GRPC, describe, default: '15m', parse: durationParser('1ms', '8760h') });

export const ADMIN_SOCKET_OPTION = optionalOption({
  group: 'Monitoring',
  describe: 'Unix socket that answers kiam explain; empty for none',
  parse: parseSocketPath,
  defaultText: '/dev/shm/kiam-<user>/<process>.sock',
});

export const SERVER_OPTIONS = {
  kubeconfig: valueOption({
    group: KUBERNETES,
    describe: 'File that says how to reach the API; empty inside a cluster',
    default: '',
    parse: parseOptionalFile,
  }),
  sync: valueOption({
    group: KUBERNETES,
    describe: 'How often the pods held are looked through again',
    default: '1m',
    parse: durationParser('1s', '24h'),
  }),
  'max-view-age': valueOption({
    group: KUBERNETES,
    describe: 'Refuse pods that have not been confirmed when the API was silent for this long',
    default: '30s',
    parse: durationParser('1s', '1h'),
  }),
  'role-base-arn': optionalOption({
    group: AWS,
    describe: 'What stands before short role names: arn:aws:iam::123456789012:role/',
    parse: parseRoleBaseArn,
  }),
  'role-base-arn-autodetect': booleanOption({
    group: AWS,
    describe: 'Take it from the instance profile of the node; goes before --role-base-arn',
    default: false,
  }),
  'metadata-endpoint': valueOption({
    group: AWS,
    describe: 'The metadata service that the profile is read from',
    default: 'http://169.254.169.254',
    parse: parseHttpOrigin,
  }),
  'assume-role-arn': valueOption({
    group: AWS,
    describe: 'Role that the server assumes first; sessions then last at most 1h',
    default: '',
    parse: parseAssumedRole,
  }),
  region: valueOption({
    group: AWS,
    describe: 'Region of the STS endpoint; empty for sts.amazonaws.com',
    default: '',
    parse: parseRegion,
  }),
  session: valueOption({
    group: AWS,
    describe: 'Session name of pods that annotate none',
    default: 'kiam',
    parse: parseName,
  }),
  'session-duration': valueOption({
    group: AWS,
    describe: 'How long credentials last: 15m to 12h, as far as the role allows',
    default: '1h',
    parse: durationParser('15m', '12h'),
  }),
  'session-refresh': optionalOption({
    group: AWS,
    describe: 'How long before their end they are replaced',
    parse: durationParser('0s', '12h'),
    defaultText: 'half of --session-duration',
  }),
  fetchers: valueOption({
    group: AWS,
    describe: 'Identities prefetched at a time',
    default: '8',
    parse: integerParser(1, 1000),
  }),
  'prefetch-buffer-size': valueOption({
    group: AWS,
    describe: "Accepted for Kiam's sake: nothing is dropped, each identity waits at most once",
    default: '1000',
    parse: integerParser(0, 1_000_000_000),
  }),
  'disable-strict-namespace-regexp': booleanOption({
    group: POLICY,
    describe: "Let a namespace's expression match a part of the ARN",
    default: false,
  }),
  'agent-identity': valueOption({
    group: POLICY,
    describe: 'How an agent is held to its node: off, auto, host-ip or token',
    default: 'auto',
    parse: choiceParser<AgentIdentityMode>({ off: 'off', auto: 'auto', 'host-ip': 'host-ip', token: 'token' }),
  }),
  'admin-socket': ADMIN_SOCKET_OPTION,
  bind: valueOption({ group: GRPC, describe: 'host:port to listen on', default: 'localhost:9610', parse: parseListen }),
  'grpc-max-connection-idle-duration': connectionBound('Close a connection without calls after this long'),
  'grpc-max-connection-age-duration': connectionBound('Ask agents to connect anew after this long'),
  'grpc-max-connection-age-grace-duration': connectionBound('How long calls may then still take'),
  ...COMMON_OPTIONS,
  ...MONITORING_OPTIONS,
};
