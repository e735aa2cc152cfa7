import { BlockList, isIP, SocketAddress } from 'node:net';

import type { HostAddresses } from './host-addresses.ts';
import { ANY_INTERFACE, areDisjoint, type HostInterface, interfaceMatch, isAnyInterface } from './host-interface.ts';
import type { Match, Rule } from './rules.ts';

export type Family = 'ipv4' | 'ipv6';
export type RuleName = 'redirect' | 'guard' | 'backstop' | ContainerRuleName;

/** Of the endpoint of container credentials: for pods, for what has the host's network, and for what goes past both. */
export type ContainerRuleName = 'container-redirect' | 'container-output' | 'container-guard';

/**
 * Where pods would find the node's identity
 * (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html).
 */
export const METADATA_ADDRESSES = { ipv4: '169.254.169.254', ipv6: 'fd00:ec2::254' } as const;

/** Where SDKs ask for container credentials (https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html). */
const CONTAINER_ADDRESSES = { ipv4: '169.254.170.23', ipv6: 'fd00:ec2::23' } as const;

/** The interface by which the agent of EKS has these addresses (aws/eks-pod-identity-agent, `configuration/config.go`). */
export const EKS_INTERFACE = 'pod-id-link0';

/** The rules that a chain must hold, before any other rule that could decide about the same packets. */
export interface DesiredRules {
  readonly name: RuleName;
  readonly family: Family;
  readonly table: 'nat' | 'filter' | 'security';
  readonly chain: 'PREROUTING' | 'OUTPUT' | 'FORWARD';
  /** In this order, in the form in which iptables prints them. */
  readonly specifications: readonly string[];
  /** Whether a rule is of our making, or of an older version's or Kiam's, with whatever address or interface. */
  isRecognised(rule: Rule): boolean;
  /** Whether a rule is the one that a specification describes. */
  isSame(rule: Rule, specification: string): boolean;
  /** Whether a rule, if it comes first, may keep packets from these. */
  isInTheWay(rule: Rule): boolean;
}

export interface DesiredOptions {
  readonly family: Family;
  /** The interface by which the packets that a rule is for come in. */
  readonly hostInterface: HostInterface;
  /** Which service the rule is for; the metadata service unless given. */
  readonly service?: 'container';
}

/** What an agent's rules are made of. */
export interface InterceptionRules {
  readonly hostAddresses: HostAddresses;
  readonly port: number;
  /** The port of container credentials; undefined where they are not served. */
  readonly containerPort?: number | undefined;
  /** Which packets are redirected. */
  readonly hostInterface: HostInterface;
  /** Which forwarded packets guard and backstop reject. */
  readonly guardInterface: HostInterface;
}

/** All rules that an agent keeps, in the order in which they are put in place: protection first, what is seldom needed last. */
export function desiredRules(rules: InterceptionRules): DesiredRules[] {
  const { hostAddresses, port, hostInterface, guardInterface } = rules;
  const families = ['ipv4', 'ipv6'] as const;
  const kept = families.flatMap((family) => {
    const address = hostAddresses[family];
    const guard = desiredGuard({ family, hostInterface: guardInterface });
    return address === undefined ? [guard] : [guard, desiredRedirect({ family, hostInterface, address, port })];
  });
  const backstops = families.map((family) => desiredBackstop({ family, hostInterface: guardInterface }));
  return [...kept, ...backstops, ...containerRules(rules)];
}

/**
 * As for the metadata service, and also for packets that the node itself sends, since pods with the host's network use this
 * endpoint.
 */
function containerRules(rules: InterceptionRules): DesiredRules[] {
  const { hostAddresses, containerPort: port, hostInterface, guardInterface } = rules;
  if (port === undefined) return [];
  return (['ipv4', 'ipv6'] as const).flatMap((family): DesiredRules[] => {
    const address = hostAddresses[family];
    const service = 'container';
    const guard: DesiredRules = {
      ...desiredGuard({ family, hostInterface: guardInterface, service }),
      name: 'container-guard',
    };
    if (address === undefined) return [guard];
    const place = { family, address, port, service } as const;
    return [
      guard,
      { ...desiredRedirect({ ...place, hostInterface }), name: 'container-redirect' },
      { ...desiredRedirect({ ...place, hostInterface: ANY_INTERFACE }), name: 'container-output', chain: 'OUTPUT' },
    ];
  });
}

export function isContainerRule({ name }: Pick<DesiredRules, 'name'>): boolean {
  return name.startsWith('container-');
}

/**
 * Kiam's own rule, to the letter (Kiam, pkg/iptables/iptables.go; docs/specification.md, 4), so that either program recognises
 * the other's.
 */
export function desiredRedirect(
  options: DesiredOptions & { readonly address: string; readonly port: number },
): DesiredRules {
  const { family, hostInterface, address, port } = options;
  const destination = family === 'ipv6' ? `[${address}]:${port}` : `${address}:${port}`;
  const specification = `${matchOf(options)} -p tcp -m tcp --dport 80 -j DNAT --to-destination ${destination}`;
  return {
    name: 'redirect',
    family,
    table: 'nat',
    chain: 'PREROUTING',
    specifications: [specification],
    isRecognised: (rule) => isRedirect(rule, options),
    isSame: (rule) => isRedirectTo(rule, options) && isInterface(rule.inInterface, hostInterface),
    isInTheWay: (rule) => mayTakeRedirected(rule, options),
  };
}

/** Whether a rule is a redirect to this place, by whatever interface packets come in. */
export function isRedirectTo(rule: Rule, place: RedirectPlace): boolean {
  const { family, address, port } = place;
  const [option, destination = ''] = rule.targetOptions;
  return (
    isRedirect(rule, place) &&
    rule.targetOptions.length === 2 &&
    option === '--to-destination' &&
    isSameEndpoint(destination, family === 'ipv6' ? `[${address}]:${port}` : `${address}:${port}`)
  );
}

interface RedirectPlace extends Pick<DesiredOptions, 'family' | 'service'> {
  readonly address: string;
  readonly port: number;
}

/** The guard's rules are told from an administrator's by this comment; they are never recognised without it. */
const GUARD_COMMENT = 'kiam-guard';
const CONTAINER_GUARD_COMMENT = 'kiam-container-guard';

function commentOf({ service }: Pick<DesiredOptions, 'service'>): string {
  return service === 'container' ? CONTAINER_GUARD_COMMENT : GUARD_COMMENT;
}

/**
 * Rejects whatever is forwarded to the metadata service, on every port and, by default, from every interface: the node's own
 * programs are not forwarded, and nobody else has business there. Redirected connections are delivered to the node itself
 * and never forwarded, so this meets only those that got round the redirect. Packets need not come in by a pod's interface
 * for that: a pod can have them unpacked from a tunnel, or sent by way of a Service's node port. TCP gets a reset, because an
 * established connection takes no notice of ICMP errors (RFC 5461, section 2).
 */
export function desiredGuard(options: DesiredOptions): DesiredRules {
  const start = matchOf(options);
  const comment = commentOf(options);
  const unreachable = options.family === 'ipv6' ? 'icmp6-port-unreachable' : 'icmp-port-unreachable';
  const tcp = `${start} -p tcp -m comment --comment ${comment} -j REJECT --reject-with tcp-reset`;
  const rest = `${start} -m comment --comment ${comment} -j REJECT --reject-with ${unreachable}`;
  return {
    ...rulesOfForward(options),
    name: 'guard',
    table: 'filter',
    specifications: [tcp, rest],
    isSame: (rule, specification) =>
      isRuleOfGuard(rule, options) &&
      rule.target === 'REJECT' &&
      (specification === tcp ? isTcp(rule) : rule.protocol === undefined) &&
      rule.targetOptions.join(' ') === `--reject-with ${specification === tcp ? 'tcp-reset' : unreachable}`,
  };
}

/**
 * What remains of the guard when something flushes nat and filter, as firewall scripts and tools do: the same rules in a table
 * that these leave alone. The kernel asks `security` after `filter` (enum nf_ip_hook_priorities in linux/netfilter_ipv4.h), so
 * that the guard's prompt refusal comes first as long as it is there; the only tables that have REJECT are those of `filter`
 * (iptables-extensions(8)), and here packets are dropped.
 */
export function desiredBackstop(options: DesiredOptions): DesiredRules {
  return {
    ...rulesOfForward(options),
    name: 'backstop',
    table: 'security',
    specifications: [`${matchOf(options)} -m comment --comment ${GUARD_COMMENT} -j DROP`],
    isSame: (rule) => isRuleOfGuard(rule, options) && rule.target === 'DROP' && rule.protocol === undefined,
  };
}

/** What guard and backstop have in common. */
function rulesOfForward(
  options: DesiredOptions,
): Pick<DesiredRules, 'family' | 'chain' | 'isRecognised' | 'isInTheWay'> {
  return {
    family: options.family,
    chain: 'FORWARD',
    isRecognised: (rule) => rule.comment === commentOf(options),
    isInTheWay: (rule) => mayLetForwardedPass(rule, options),
  };
}

function matchOf(options: DesiredOptions): string {
  const route = `${addressOf(options)}/${options.family === 'ipv6' ? 128 : 32}`;
  return `-d ${route} ${interfaceMatch(options.hostInterface)}`.trimEnd();
}

function isRuleOfGuard(rule: Rule, options: DesiredOptions): boolean {
  return (
    rule.comment === commentOf(options) &&
    isDestination(rule, options) &&
    isInterface(rule.inInterface, options.hostInterface) &&
    isUnmatched(rule) &&
    rule.destinationPort === undefined
  );
}

type ServicePlace = Pick<DesiredOptions, 'family' | 'service'>;

function addressOf({ family, service }: ServicePlace): string {
  return (service === 'container' ? CONTAINER_ADDRESSES : METADATA_ADDRESSES)[family];
}

function isRedirect(rule: Rule, place: ServicePlace): boolean {
  return (
    rule.target === 'DNAT' &&
    isDestination(rule, place) &&
    isTcp(rule) &&
    isExactly(rule.destinationPort, '80') &&
    rule.comment === undefined &&
    isUnmatched(rule)
  );
}

function isUnmatched(rule: Rule): boolean {
  return rule.source === undefined && rule.outInterface === undefined && rule.others.length === 0;
}

function isTcp(rule: Rule): boolean {
  return isExactly(rule.protocol, 'tcp') || isExactly(rule.protocol, '6');
}

function isExactly(match: Match | undefined, value: string): boolean {
  return match !== undefined && !match.inverted && match.value === value;
}

function isInterface(match: Match | undefined, hostInterface: HostInterface): boolean {
  if (match === undefined) return isAnyInterface(hostInterface);
  return match.inverted === hostInterface.inverted && match.value === hostInterface.name;
}

function isDestination({ destination }: Rule, place: ServicePlace): boolean {
  if (destination === undefined || destination.inverted) return false;
  const [address = '', length = ''] = destination.value.split('/');
  if (length !== '' && length !== (place.family === 'ipv6' ? '128' : '32')) return false;
  return sameAddress(address, addressOf(place));
}

/** `192.0.2.1:80` or `[2001:db8::1]:80`, in whatever spelling of the address. */
function isSameEndpoint(one: string, other: string): boolean {
  const split = (text: string): readonly [string, string] => {
    const colon = text.lastIndexOf(':');
    return [text.slice(0, colon).replaceAll(/[[\]]/g, ''), text.slice(colon + 1)];
  };
  const [address, port] = split(one);
  const [otherAddress, otherPort] = split(other);
  return port === otherPort && sameAddress(address, otherAddress);
}

function sameAddress(one: string, other: string): boolean {
  return one === other || (isIP(one) === 6 && isIP(other) === 6 && spelling(one) === spelling(other));
}

function spelling(address: string): string {
  return new SocketAddress({ address, family: 'ipv6' }).address;
}

/** Targets after which the next rule is still evaluated (iptables-extensions(8)). */
const PASSING_TARGETS: ReadonlySet<string> = new Set(
  (
    'AUDIT CHECKSUM CLASSIFY CONNMARK CONNSECMARK CT DSCP ECN HL IDLETIMER LED LOG MARK NFLOG NOTRACK RATEEST SECMARK SET ' +
    'TCPMSS TCPOPTSTRIP TEE TOS TRACE TTL ULOG'
  ).split(' '),
);

/** Targets that end a packet's way through nat/PREROUTING. */
const DECIDING_TARGETS: ReadonlySet<string> = new Set('ACCEPT DNAT NETMAP NFQUEUE QUEUE REDIRECT RETURN'.split(' '));

/**
 * Jumps that name no destination are not in the way of the redirect: Kubernetes' and CNI plugins' own chains begin with
 * them and stay in front, and they are for services' addresses. Should one of them lead to the metadata service all the
 * same, the guard is in place behind it.
 */
function mayTakeRedirected(rule: Rule, options: DesiredOptions): boolean {
  if (rule.target === undefined) return !rule.isReadable;
  if (PASSING_TARGETS.has(rule.target ?? '') || !mayMatch(rule, options)) return false;
  if (rule.protocol !== undefined && !rule.protocol.inverted && !isTcp(rule) && rule.protocol.value !== 'all')
    return false;
  if (rule.destinationPort !== undefined && !includesPort80(rule.destinationPort)) return false;
  if (rule.target !== undefined && DECIDING_TARGETS.has(rule.target)) return true;
  return rule.destination !== undefined && !rule.destination.inverted && !rule.destination.value.endsWith('/0');
}

/** Before the guard nothing may stand that could accept: that includes chains of which only the name is known here. */
function mayLetForwardedPass(rule: Rule, options: DesiredOptions): boolean {
  if (rule.target === undefined) return !rule.isReadable;
  if (rule.target === 'DROP' || rule.target === 'REJECT' || PASSING_TARGETS.has(rule.target ?? '')) return false;
  return mayMatch(rule, options);
}

/** Whether a packet of a pod to the metadata service can satisfy a rule, as far as address and interface tell. */
function mayMatch(rule: Rule, options: DesiredOptions): boolean {
  const { destination, inInterface } = rule;
  if (destination !== undefined && contains(destination.value, options) === destination.inverted) return false;
  if (inInterface === undefined) return true;
  return !areDisjoint(options.hostInterface, { inverted: inInterface.inverted, name: inInterface.value });
}

/** Whether a network in the form of iptables holds the service's address; text that is no network is taken to. */
function contains(network: string, place: ServicePlace): boolean {
  const { family } = place;
  const [address = '', length = family === 'ipv6' ? '128' : '32'] = network.split('/');
  const bits = Number(length);
  const isOfFamily = isIP(address) === (family === 'ipv6' ? 6 : 4);
  if (!isOfFamily || !/^\d{1,3}$/.test(length) || bits > (family === 'ipv6' ? 128 : 32)) return true;
  const list = new BlockList();
  list.addSubnet(address, bits, family);
  return list.check(addressOf(place), family);
}

/** `80`, or a range such as `1:1024` or `:80`. */
function includesPort80({ inverted, value }: Match): boolean {
  const [first = '', last = first] = value.split(':');
  const includes = Number(first === '' ? 0 : first) <= 80 && 80 <= Number(last === '' ? 65_535 : last);
  return includes !== inverted;
}
