/** A fault that somebody could make: one piece of a file, and what stands there with the fault. */
export interface Mutation {
  readonly what: string;
  readonly file: string;
  /** Stands in the file once. */
  readonly from: string;
  readonly to: string;
  /** The tests of which one must fail: patterns of files. */
  readonly tests: readonly string[];
}

const DOMAIN = ['test/unit/domain/*.test.ts'];
const AWS = ['test/unit/aws/*.test.ts'];
const SERVER = ['test/unit/server/*.test.ts'];
const NODE = ['test/unit/agent/node/*.test.ts', 'test/model/hand-over.test.ts'];
const AGENT = ['test/unit/agent/*.test.ts'];
const INTERCEPTION = ['test/unit/agent/interception/*.test.ts'];
const KUBERNETES = ['test/unit/kubernetes/*.test.ts'];
const CONTAINER = ['test/unit/agent/container/*.test.ts', 'test/unit/fuzz/properties.test.ts'];
const RPC = ['test/unit/rpc/*.test.ts', 'test/integration/handshakes.test.ts'];

export const MUTATIONS: readonly Mutation[] = [
  {
    what: 'a pod may ask for another role than its own',
    file: 'src/domain/policy.ts',
    from: 'if (requested.role.arn !== annotated.role.arn) {',
    to: 'if (requested.role.arn.length !== annotated.role.arn.length) {',
    tests: DOMAIN,
  },
  {
    what: 'a namespace that is not known permits',
    file: 'src/domain/policy.ts',
    from: "if (namespace === undefined) return refuse(`namespace '${pod.namespace}' is not known, forbidden`);",
    to: '',
    tests: [...DOMAIN, ...SERVER],
  },
  {
    what: 'an invalid external id is allowed',
    file: 'src/domain/policy.ts',
    from: 'if (problem !== undefined) return refuse',
    to: 'if (problem === undefined && problem !== undefined) return refuse',
    tests: DOMAIN,
  },
  {
    what: 'an expression may match a part of the ARN',
    file: 'src/domain/expression.ts',
    from: '? (roleArn: string) => compiled.matches(roleArn)',
    to: '? (roleArn: string) => compiled.matcher(roleArn).find()',
    tests: DOMAIN,
  },
  {
    what: 'an expression of any cost is compiled',
    file: 'src/domain/expression.ts',
    from: 'if (compiled.programSize() > LARGEST_PROGRAM) {',
    to: 'if (compiled.programSize() > 1e9) {',
    tests: DOMAIN,
  },
  {
    what: 'an account of eleven digits',
    file: 'src/domain/iam-grammar.ts',
    from: String.raw`const ACCOUNT = /^\d{12}$/;`,
    to: String.raw`const ACCOUNT = /^\d{11,12}$/;`,
    tests: DOMAIN,
  },
  {
    what: 'an external id of one character',
    file: 'src/domain/iam-grammar.ts',
    from: '{2,1224}$/;',
    to: '{1,1224}$/;',
    tests: [...DOMAIN, ...AWS],
  },
  {
    what: 'the session of another role is taken for the one asked for',
    file: 'src/domain/iam-grammar.ts',
    from: 'sessionArn.slice(role.length) === sessionName',
    to: 'sessionArn.length > 0',
    tests: [...DOMAIN, ...AWS],
  },
  {
    what: 'a session name is cut to 64 bytes instead of 63',
    file: 'src/domain/session-name.ts',
    from: 'LONGEST_BYTES - 1',
    to: 'LONGEST_BYTES',
    tests: DOMAIN,
  },
  {
    what: 'the expiry that STS gives is believed whatever it is',
    file: 'src/aws/lifetime.ts',
    from: 'if (seenMs <= grantedMs + TOLERATED_SKEW_MS)',
    to: 'if (seenMs <= Number.MAX_VALUE)',
    tests: AWS,
  },
  {
    what: 'renewal at once where less was granted than the refresh',
    file: 'src/aws/lifetime.ts',
    from: 'const isMeant = lifeMs >= sessionMs * AS_ASKED && lifeMs > sessionRefreshMs;',
    to: 'const isMeant = true;',
    tests: AWS,
  },
  {
    what: 'a cohort is renewed all at once',
    file: 'src/aws/lifetime.ts',
    from: 'latestMs * (1 - random() * 0.05)',
    to: 'latestMs * (1 - random() * 0)',
    tests: AWS,
  },
  {
    what: 'throttling is never eased',
    file: 'src/aws/call-pace.ts',
    from: 'this.#intervalMs = this.#easedIntervalMs(isIdle);',
    to: '',
    tests: AWS,
  },
  {
    what: 'a doubtful interval is eased below the undoubted one at once',
    file: 'src/aws/call-pace.ts',
    from: 'Math.max(this.#undoubtedIntervalMs, this.#intervalMs * EASING_AFTER_RUN)',
    to: 'this.#intervalMs * EASING_AFTER_RUN * EASING_AFTER_RUN',
    tests: AWS,
  },
  {
    what: 'requests of pods wait behind prefetches',
    file: 'src/aws/call-limiter.ts',
    from: 'for (const lower of RANKS.slice(RANKS.indexOf(rank) + 1)) {',
    to: 'for (const lower of RANKS.slice(RANKS.length)) {',
    tests: AWS,
  },
  {
    what: 'the external id travels to agents',
    file: 'src/server/node-feed.ts',
    from: "createHash('sha256').update(key).digest('base64url')",
    to: 'key',
    tests: SERVER,
  },
  {
    what: 'a confirmation of long ago counts',
    file: 'src/server/confirmation.ts',
    from: "return check === 'kernel-bound' || nowMs - confirmed.atMs < this.#options.maxViewAgeMs ? confirmed : undefined;",
    to: 'return confirmed;',
    tests: SERVER,
  },
  {
    what: 'a view of any age confirms an address',
    file: 'src/server/confirmation.ts',
    from: "check !== 'read-or-refuse' && ageMs < maxViewAgeMs",
    to: "check !== 'read-or-refuse'",
    tests: SERVER,
  },
  {
    what: 'a pod that is being deleted is confirmed though it is in doubt',
    file: 'src/server/confirmation.ts',
    from: "return check !== 'read-or-refuse' || !now.terminating;",
    to: 'return true;',
    tests: SERVER,
  },
  {
    what: 'an agent may ask for pods of every node',
    file: 'src/server/service.ts',
    from: "const node = agent.kind === 'node' ? agent.node : undefined;",
    to: 'const node = undefined;',
    tests: SERVER,
  },
  {
    what: 'what was found is given without a second look at who has the address',
    file: 'src/server/service.ts',
    from: "if (lookup.kind !== 'found' || lookup.pod.uid !== pod.uid) return false;",
    to: "if (lookup.kind !== 'found') return false;",
    tests: SERVER,
  },
  {
    what: 'what was found is given although the pod’s session would be another one now',
    file: 'src/server/service.ts',
    from: '(lookup.pod === pod || identityKey(identityOf(lookup.pod, decision.roleArn, sessions)) === identityKey(identity))',
    to: 'true',
    tests: SERVER,
  },
  {
    what: 'a session tag that a pod annotates says whose the session is',
    file: 'src/domain/attribution.ts',
    from: '.filter(([key]) => !isReservedKey(key))',
    to: '',
    tests: DOMAIN,
  },
  {
    what: 'a pod sets the session tag that its ServiceAccount sets',
    file: 'src/domain/service-account.ts',
    from: '!sessionTags.some(([other]) => other === key)',
    to: 'true',
    tests: DOMAIN,
  },
  {
    what: 'a parameter of a call of STS is sent with another value than was asked for',
    file: 'src/aws/whole-request.ts',
    from: "if (value !== text) return 'a parameter has another value';",
    to: '',
    tests: AWS,
  },
  {
    what: 'an agent whose call is no node’s is served by host-ip',
    file: 'src/server/agent-scope.ts',
    from: "if (mode === 'host-ip') {",
    to: "if (mode === 'auto') {",
    tests: SERVER,
  },
  {
    what: 'an address that two pods claim is answered',
    file: 'src/agent/node/store.ts',
    from: 'if (claimants === undefined || claimants.size !== 1) return undefined;',
    to: 'if (claimants === undefined) return undefined;',
    tests: NODE,
  },
  {
    what: 'pods that a new stream does not tell of stay',
    file: 'src/agent/node/store.ts',
    from: 'for (const [uid, { stream }] of this.#pods) if (stream !== this.#stream) this.#remove(uid);',
    to: '',
    tests: NODE,
  },
  {
    what: 'credentials of a pod that has gone stay',
    file: 'src/agent/node/store.ts',
    from: '      this.#holders.delete(identity);\n      this.#credentials.delete(identity);',
    to: '      this.#holders.delete(identity);',
    tests: NODE,
  },
  {
    what: 'a changed interface counts as the same',
    file: 'src/agent/node/trust.ts',
    from: "return before.kind === 'interface' && now.kind === 'interface' && before.key === now.key;",
    to: "return before.kind === 'interface' && now.kind === 'interface';",
    tests: NODE,
  },
  {
    what: 'an earlier answer takes the place of a later one',
    file: 'src/agent/node/trust.ts',
    from: 'if (present !== undefined && present.confirmedMs > binding.confirmedMs) return present.uid === binding.uid;',
    to: '',
    tests: NODE,
  },
  {
    what: 'an answer for another pod is taken',
    file: 'src/agent/node/trust.ts',
    from: '    this.#dispute(address, pending.uid);\n    return false;',
    to: '    return true;',
    tests: NODE,
  },
  {
    what: 'another spelling of a token is accepted',
    file: 'src/agent/tokens.ts',
    from: " || bytes.toString('base64url') !== token",
    to: '',
    tests: AGENT,
  },
  {
    what: 'a path is cleaned before it is decoded',
    file: 'src/agent/canonical-path.ts',
    from: 'const decoded = decodeOnce(inOriginForm);',
    to: 'const decoded = decodeOnce(clean(inOriginForm));',
    tests: AGENT,
  },
  {
    what: 'paths below iam are proxied where the expression allows them',
    file: 'src/agent/route.ts',
    from: 'return DENIED_SEGMENT.test(path) ? DENIED : PROXY;',
    to: 'return PROXY;',
    tests: AGENT,
  },
  {
    what: 'a guard with a condition of somebody else counts as the guard',
    file: 'src/agent/interception/desired-rules.ts',
    from: 'return rule.source === undefined && rule.outInterface === undefined && rule.others.length === 0;',
    to: 'return true;',
    tests: INTERCEPTION,
  },
  {
    what: 'a guard for an interface counts as one for all',
    file: 'src/agent/interception/desired-rules.ts',
    from: '    isInterface(rule.inInterface, options.hostInterface) &&\n',
    to: '',
    tests: INTERCEPTION,
  },
  {
    what: 'a guard that drops nothing counts as the backstop',
    file: 'src/agent/interception/desired-rules.ts',
    from: "isRuleOfGuard(rule, options) && rule.target === 'DROP' && rule.protocol === undefined",
    to: 'isRuleOfGuard(rule, options) && rule.protocol === undefined',
    tests: INTERCEPTION,
  },
  {
    what: 'pages of two versions are mixed into one list',
    file: 'src/kubernetes/list.ts',
    from: 'if (resourceVersion !== undefined && page.resourceVersion !== resourceVersion)',
    to: "if (resourceVersion !== undefined && page.resourceVersion === '')",
    tests: KUBERNETES,
  },
  {
    what: 'a list that goes in circles is read for ever',
    file: 'src/kubernetes/list.ts',
    from: 'if (page.continueToken === continueToken)',
    to: 'if (page.continueToken.length > 1e9)',
    tests: KUBERNETES,
  },
  {
    what: 'an address whose handshakes do not end comes first',
    file: 'src/rpc/handshake-turns.ts',
    from: 'for (const address of this.#queue) if (this.#callers.get(address)?.begun.size === 0) return address;',
    to: '',
    tests: RPC,
  },
  {
    what: 'the newcomer loses in place of the address with the most connections',
    file: 'src/rpc/handshake-turns.ts',
    from: 'if (sizeOf(caller) > sizeOf(most)) most = caller;',
    to: 'if (sizeOf(caller) < 0) most = caller;',
    tests: RPC,
  },
  {
    what: 'the token of an earlier ServiceAccount is good',
    file: 'src/agent/container/pod-source.ts',
    from: 'agree(claims.serviceAccountUid, pod.serviceAccountUid) &&',
    to: '',
    tests: CONTAINER,
  },
  {
    what: 'a token that names another node is good',
    file: 'src/agent/container/pod-source.ts',
    from: ' &&\n    agree(claims.nodeName, pod.nodeName)',
    to: '',
    tests: CONTAINER,
  },
  {
    what: 'a pod with the host network is served to whoever has its token',
    file: 'src/agent/container/pod-source.ts',
    from: 'if (pod.hostNetwork) return isFromNode(client) ? held(pod) : undefined;',
    to: 'if (pod.hostNetwork) return held(pod);',
    tests: CONTAINER,
  },
  {
    what: 'a pod is served to whoever has its token',
    file: 'src/agent/container/pod-source.ts',
    from: 'if (store.find(client.address) !== pod) return undefined;',
    to: '',
    tests: CONTAINER,
  },
  {
    what: 'a token that has expired is good',
    file: 'src/agent/container/token-verifier.ts',
    from: "if (!(seconds < expires)) return 'expired';",
    to: '',
    tests: CONTAINER,
  },
  {
    what: 'the token chooses how it is verified',
    file: 'src/agent/container/token-verifier.ts',
    from: "if (alg !== found.algorithm) return 'signature';",
    to: '',
    tests: CONTAINER,
  },
];
