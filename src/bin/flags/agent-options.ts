import { COMMON_OPTIONS, GATEWAY_OPTIONS, MONITORING_OPTIONS } from './common.ts';
import {
  booleanOption,
  durationParser,
  integerParser,
  optionalOption,
  parseName,
  requiredOption,
  valueOption,
} from './option.ts';
import { parseAddressList, parseExpression, parseHttpOrigin, parseInterface, parseListenHost } from './values.ts';

const METADATA = 'Metadata API';
const INTERCEPTION = 'Interception';
const LIMITS = 'Limits for each pod';
const NODE = 'Node store';

export const AGENT_OPTIONS = {
  port: valueOption({ group: METADATA, describe: 'HTTP port', default: '3100', parse: integerParser(0, 65_535) }),
  'listen-address': valueOption({
    group: METADATA,
    describe: 'IP address to listen on; empty for all',
    default: '',
    parse: parseListenHost,
  }),
  'allow-route-regexp': valueOption({
    group: METADATA,
    describe: 'Which other metadata paths are proxied',
    default: '^$',
    parse: parseExpression,
  }),
  'allow-ip-query': booleanOption({
    group: METADATA,
    describe: "Let ?ip= stand for the client's address; for development on loopback only",
    default: false,
  }),
  'metadata-endpoint': valueOption({
    group: METADATA,
    describe: 'The real metadata service',
    default: 'http://169.254.169.254',
    parse: parseHttpOrigin,
  }),
  'require-imdsv2': booleanOption({
    group: METADATA,
    describe: 'Answer only requests with a token of this agent',
    default: false,
  }),
  wait: valueOption({
    group: METADATA,
    describe: 'How long a request waits for its pod to become known',
    default: '900ms',
    parse: durationParser('0s', '1m'),
  }),
  iptables: booleanOption({
    group: INTERCEPTION,
    describe: 'Keep the redirect and the guard in place',
    default: false,
  }),
  host: requiredOption({
    group: INTERCEPTION,
    describe: 'IP address of the node, where the redirect leads; or a list of them, separated by commas [env HOST_IP]',
    parse: parseAddressList,
    placeholder: [],
    environmentVariable: 'HOST_IP',
  }),
  'host-interface': valueOption({
    group: INTERCEPTION,
    describe: 'Interface whose packets are redirected: cali+ for every cali..., !eth0 for all but eth0, + for all',
    default: 'docker0',
    parse: parseInterface,
  }),
  'guard-interface': valueOption({
    group: INTERCEPTION,
    describe: 'Interface whose packets the guard rejects when they are forwarded to the metadata service; + for all',
    default: '+',
    parse: parseInterface,
  }),
  'iptables-remove': booleanOption({
    group: INTERCEPTION,
    describe: 'Remove the redirect at exit',
    default: false,
  }),
  'iptables-remove-guard': booleanOption({
    group: INTERCEPTION,
    describe: 'Remove the guard as well: pods then reach the identity of the node',
    default: false,
  }),
  'guard-only': booleanOption({
    group: INTERCEPTION,
    describe: 'Put the guard in and exit; needs no certificate',
    default: false,
  }),
  'pod-concurrency': valueOption({
    group: LIMITS,
    describe: 'Requests at a time; 0 for no limit',
    default: '16',
    parse: integerParser(0, 100_000),
  }),
  'pod-rate': valueOption({
    group: LIMITS,
    describe: 'Requests a second, with bursts of twice as many; 0 for no limit',
    default: '100',
    parse: integerParser(0, 1_000_000),
  }),
  'node-store': booleanOption({
    group: NODE,
    describe: "Have the server send what this node's pods may have, and answer from memory",
    default: true,
  }),
  'serve-stale': valueOption({
    group: NODE,
    describe: 'How long to answer from memory after the server is lost',
    default: '30s',
    parse: durationParser('0s', '12h'),
  }),
  'agent-token-file': optionalOption({
    group: NODE,
    describe: 'Projected service account token for a server with --agent-identity=token',
    parse: parseName,
  }),
  ...GATEWAY_OPTIONS,
  ...COMMON_OPTIONS,
  ...MONITORING_OPTIONS,
};
