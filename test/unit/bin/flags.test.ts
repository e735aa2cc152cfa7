import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { clientKeepalive, connectionBounds, serverKeepalive } from '#bin/keepalive.ts';
import { profileAddress } from '#bin/flags/monitoring.ts';
import { type AgentFlags, redirectTargets } from '#bin/flags/agent.ts';
import { parseCommandLine } from '#bin/flags/command-line.ts';
import type { CommandLine } from '#bin/flags/command-line.ts';
import type { CommandName } from '#bin/flags/commands.ts';
import { pkiMode } from '#bin/flags/pki.ts';
import { flagsPage } from '../../support/flags-page.ts';
import { refreshBeforeExpiryMs, type ServerFlags } from '#bin/flags/server.ts';

const directory = mkdtempSync(join(tmpdir(), 'kiam-flags-'));
after(() => rmSync(directory, { recursive: true }));
const pem = join(directory, 'file.pem');
writeFileSync(pem, 'x');
mkdirSync(join(directory, 'folder'));

const TLS = [`--cert=${pem}`, `--key=${pem}`, `--ca=${pem}`];
const AGENT = ['agent', ...TLS, '--host=192.0.2.7'];
const SERVER = ['server', ...TLS, '--role-base-arn=arn:aws:iam::123456789012:role/'];
const HEALTH = ['health', ...TLS];

function parse(argv: readonly string[], env: Record<string, string> = {}): Promise<CommandLine> {
  return parseCommandLine(argv, env, { version: '1.2.3' });
}

async function problems(argv: readonly string[], env: Record<string, string> = {}): Promise<readonly string[]> {
  const line = await parse(argv, env);
  return line.kind === 'problems' ? line.problems : [];
}

async function agent(argv: readonly string[], env: Record<string, string> = {}): Promise<AgentFlags> {
  const line = await parse(argv, env);
  assert.ok(line.kind === 'agent', JSON.stringify(line));
  return line.flags;
}

async function server(argv: readonly string[]): Promise<{ flags: ServerFlags; warnings: readonly string[] }> {
  const line = await parse(argv);
  assert.ok(line.kind === 'server', JSON.stringify(line));
  return line;
}

async function health(argv: readonly string[]): Promise<Extract<CommandLine, { kind: 'health' }>> {
  const line = await parse(argv);
  assert.ok(line.kind === 'health', JSON.stringify(line));
  return line;
}

/** Sessions that are named as by Kiam and have no tags. */
const PLAIN_SESSIONS = {
  sessionName: undefined,
  sourceIdentity: undefined,
  sessionTags: 'off',
  clusterName: '',
  clusterArn: '',
  allowedSessionTags: [],
  transitiveSessionTags: false,
};

test("The arguments of Kiam's agent manifest mean what they meant", async () => {
  const manifest = [
    '--iptables',
    '--host-interface=cali+',
    '--json-log',
    '--port=8181',
    '--server-address=kiam-server:443',
  ];
  const metrics = [
    '--prometheus-listen-addr=0.0.0.0:9620',
    '--prometheus-sync-interval=5s',
    '--gateway-timeout-creation=1s',
  ];
  const flags = await agent(['agent', ...manifest, ...TLS, ...metrics], { HOST_IP: '192.0.2.7' });
  const tls = { cert: pem, key: pem, ca: pem };
  const grpc = {
    serverAddress: { host: 'kiam-server', port: 443, text: 'kiam-server:443' },
    serverAddressRefreshMs: 0,
    gatewayTimeoutCreationMs: 1000,
    grpcKeepaliveTimeDurationMs: 10_000,
    grpcKeepaliveTimeoutDurationMs: 2000,
    grpcKeepalivePermitWithoutStream: false,
  };
  const monitoring = {
    prometheusListenAddr: { host: '0.0.0.0', port: 9620 },
    prometheusSyncIntervalMs: 5000,
    pprofListenAddr: undefined,
    pprofAllowRemote: false,
  };
  const interception = {
    iptables: true,
    host: ['192.0.2.7'],
    hostInterface: { inverted: false, name: 'cali+' },
    guardInterface: { inverted: false, name: '+' },
    iptablesRemove: false,
    iptablesRemoveGuard: false,
    guardOnly: false,
    uninstall: false,
    startedFile: '',
    containerCredentials: false,
    containerCredentialsPort: 3101,
    containerCredentialsAudience: 'pods.eks.amazonaws.com',
  };
  assert.deepEqual(flags, {
    jsonLog: true,
    level: 'info',
    ...tls,
    ...grpc,
    ...monitoring,
    ...interception,
    port: 8181,
    listenAddress: '',
    allowRouteRegexp: '^$',
    allowIpQuery: false,
    metadataEndpoint: 'http://169.254.169.254',
    requireImdsv2: false,
    waitMs: undefined,
    podConcurrency: 16,
    podRate: 100,
    auditLog: 'off',
    nodeStore: true,
    serveStaleMs: 30_000,
    agentTokenFile: undefined,
  });
});

test("The arguments of Kiam's server manifest mean what they meant", async () => {
  const manifest = ['--json-log', '--level=warn', '--bind=0.0.0.0:443', '--role-base-arn-autodetect', '--sync=1m'];
  const role = '--assume-role-arn=arn:aws:iam::123456789012:role/kiam-server';
  const { flags, warnings } = await server([
    'server',
    ...manifest,
    role,
    ...TLS,
    '--prometheus-listen-addr=0.0.0.0:9620',
  ]);
  assert.deepEqual(
    warnings.map((warning) => warning.split(':')[0]),
    ['--agent-identity is not given, so auto'],
  );
  const tls = { cert: pem, key: pem, ca: pem };
  const grpc = {
    bind: { host: '0.0.0.0', port: 443 },
    grpcKeepaliveTimeDurationMs: 10_000,
    grpcKeepaliveTimeoutDurationMs: 2000,
    grpcMaxConnectionIdleDurationMs: 900_000,
    grpcMaxConnectionAgeDurationMs: 900_000,
    grpcMaxConnectionAgeGraceDurationMs: 900_000,
  };
  const monitoring = {
    prometheusListenAddr: { host: '0.0.0.0', port: 9620 },
    prometheusSyncIntervalMs: 5000,
    pprofListenAddr: undefined,
    pprofAllowRemote: false,
    adminSocket: undefined,
    statusPort: 9622,
  };
  const aws = {
    roleBaseArn: undefined,
    roleBaseArnAutodetect: true,
    metadataEndpoint: 'http://169.254.169.254',
    namespacePolicy: 'kiam',
    namespaceRestrictionFormat: 'glob',
    assumeRoleArn: 'arn:aws:iam::123456789012:role/kiam-server',
    region: '',
    session: 'kiam',
    sessionDurationMs: 3_600_000,
    sessionRefreshMs: undefined,
    ...PLAIN_SESSIONS,
    stsRate: 200,
    fetchers: undefined,
    prefetchBufferSize: 1000,
    containerCredentials: false,
  };
  assert.deepEqual(flags, {
    jsonLog: true,
    level: 'warn',
    ...tls,
    ...grpc,
    ...monitoring,
    ...aws,
    kubeconfig: '',
    syncMs: 60_000,
    maxViewAgeMs: 30_000,
    disableStrictNamespaceRegexp: false,
    binding: 'both',
    agentIdentity: 'auto',
    agentServiceAccount: 'system:serviceaccount:kube-system:kiam-agent',
    nodeReadiness: 'off',
  });
  assert.equal(refreshBeforeExpiryMs(flags), 1_800_000);
});

test("The arguments of Kiam's probe mean what they meant, and the deprecated one warns once", async () => {
  const probe = [
    '--server-address=localhost:443',
    '--server-address-refresh=2s',
    '--timeout=5s',
    '--gateway-timeout-creation=3s',
  ];
  const { flags, warnings } = await health(['health', ...TLS, ...probe]);
  assert.equal(flags.timeoutMs, 5000);
  assert.equal(flags.gatewayTimeoutCreationMs, 3000);
  assert.equal(flags.serverAddress.text, 'localhost:443');
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /^--server-address-refresh is deprecated/);
});

test('Without flags the defaults are those of the contract', async () => {
  const { flags } = await health(HEALTH);
  assert.equal(flags.timeoutMs, 1000);
  assert.deepEqual(flags.serverAddress, { host: 'localhost', port: 9610, text: 'localhost:9610' });
  const agentFlags = await agent(AGENT);
  assert.equal(agentFlags.port, 3100);
  assert.equal(agentFlags.iptables, false);
  assert.deepEqual(agentFlags.hostInterface, { inverted: false, name: 'docker0' });
  assert.equal(agentFlags.prometheusListenAddr, undefined);
  const serverFlags = (await server(SERVER)).flags;
  assert.deepEqual(serverFlags.bind, { host: 'localhost', port: 9610 });
  assert.deepEqual([serverFlags.jsonLog, serverFlags.level], [false, 'info']);
  assert.equal(serverFlags.roleBaseArn, 'arn:aws:iam::123456789012:role/');
});

test('A value may follow its flag or an equals sign, and the last of a repeated flag counts', async () => {
  assert.equal((await agent([...AGENT, '--port', '81'])).port, 81);
  assert.equal((await agent([...AGENT, '--port=81', '--port', '82', '--port=83'])).port, 83);
  assert.equal((await agent([...AGENT, '--iptables', '--no-iptables'])).iptables, false);
  assert.equal((await agent(['--json-log', ...AGENT])).jsonLog, true);
});

const SWITCHES: readonly (readonly [string, boolean])[] = [
  ['--node-store', true],
  ['--no-node-store', false],
  ['--node-store=false', false],
  ['--node-store=true', true],
];

for (const [word, expected] of SWITCHES) {
  test(`${word} is ${expected}`, async () => assert.equal((await agent([...AGENT, word])).nodeStore, expected));
}

test('Quotes that a manifest left in a value stay part of it, as with Kiam', async () => {
  assert.equal((await agent([...AGENT, '--allow-route-regexp="^/latest"'])).allowRouteRegexp, '"^/latest"');
  assert.equal((await agent([...AGENT, "--allow-route-regexp='x'"])).allowRouteRegexp, "'x'");
  assert.equal((await agent([...AGENT, '--allow-route-regexp="'])).allowRouteRegexp, '"');
  assert.equal((await agent([...AGENT, '--allow-route-regexp', '"x"'])).allowRouteRegexp, '"x"');
});

test('HOST_IP stands for --host, which goes before it', async () => {
  const rules = ['agent', ...TLS, '--iptables'];
  assert.deepEqual((await agent(rules, { HOST_IP: '198.51.100.1' })).host, ['198.51.100.1']);
  const both = await agent([...rules, '--host=192.0.2.1,2001:DB8::1'], { HOST_IP: '198.51.100.1' });
  assert.deepEqual(redirectTargets(both), { ok: true, addresses: { ipv4: '192.0.2.1', ipv6: '2001:db8::1' } });
  assert.deepEqual(await problems(rules, { HOST_IP: '' }), ['--host must be given']);
  assert.match((await problems(rules, { HOST_IP: '$(X)' }))[0] ?? '', /this --host: "\$\(X\)" is not an IP address$/);
});

test('The guard alone needs neither certificates nor an address', async () => {
  const flags = await agent(['agent', '--guard-only', '--host-interface=!eth0']);
  assert.equal(flags.guardOnly, true);
  assert.deepEqual(flags.hostInterface, { inverted: true, name: 'eth0' });
});

const DURATIONS: readonly (readonly [string, number | undefined])[] = [
  ['1h30m0s', 5_400_000],
  ['1.5h', 5_400_000],
  ['100ms', 100],
  ['-1s', undefined],
  ['1', undefined],
  ['1d', undefined],
  ['0', undefined],
  ['', undefined],
];

for (const [text, expected] of DURATIONS) {
  test(`--timeout=${text} is ${expected === undefined ? 'refused' : `${expected} ms`}`, async () => {
    const argv = [...HEALTH, `--timeout=${text}`];
    if (expected === undefined) assert.match((await problems(argv))[0] ?? '', /^--timeout=/);
    else assert.equal((await health(argv)).flags.timeoutMs, expected);
  });
}

const SESSIONS: readonly (readonly [string[], number, number, number])[] = [
  [[], 60, 30, 0],
  [['--session-duration=15m'], 15, 7.5, 0],
  [['--session-duration=15m', '--session-refresh=5m'], 15, 5, 0],
  [['--session-duration=15m', '--session-refresh=15m'], 15, 7.5, 1],
  [['--session-duration=12h', '--session-refresh=13h'], 0, 0, 0],
  [['--session-duration=12h', '--session-refresh=1h'], 720, 60, 0],
];

for (const [words, durationMinutes, refreshMinutes, warningCount] of SESSIONS) {
  test(`Sessions with ${words.join(' ') || 'no flags'}`, async () => {
    if (durationMinutes === 0) {
      assert.equal((await problems([...SERVER, ...words])).length, 1);
      return;
    }
    const { flags, warnings } = await server([...SERVER, '--agent-identity=auto', ...words]);
    assert.equal(flags.sessionDurationMs, durationMinutes * 60_000);
    assert.equal(refreshBeforeExpiryMs(flags), refreshMinutes * 60_000);
    assert.equal(warnings.length, warningCount);
  });
}

test('An agent whose route expression has quotation marks says that it lets nothing through', async () => {
  const warningsWith = async (expression: string): Promise<readonly string[]> => {
    const line = await parse([...AGENT, `--allow-route-regexp=${expression}`]);
    return line.kind === 'agent' ? line.warnings : assert.fail(line.kind);
  };
  assert.match((await warningsWith('"/latest/*"'))[0] ?? '', /quotation marks/);
  assert.deepEqual(await warningsWith('^/latest/meta-data/placement/region$'), []);
});

async function warningsOf(argv: readonly string[]): Promise<readonly string[]> {
  const line = await parse(argv);
  return line.kind === 'agent' || line.kind === 'server' ? line.warnings : assert.fail(line.kind);
}

test('A host that is no IP address is taken without --iptables, with a warning that it has no effect', async () => {
  assert.match(
    (await warningsOf([...AGENT, '--host=node-1']))[0] ?? '',
    /^--host=node-1 .* no effect without --iptables$/,
  );
  for (const given of [['--host=192.0.2.1,2001:db8::1'], ['--host=127.0.0.1'], []]) {
    assert.deepEqual(await warningsOf([...AGENT, ...given]), []);
  }
});

test('Profiles are served at a loopback address, and elsewhere where that is allowed; a warning says so otherwise', async () => {
  const token = '--agent-identity=token';
  for (const daemon of [AGENT, [...SERVER, token]]) {
    const [warning = '', ...others] = await warningsOf([...daemon, '--pprof-listen-addr=:6060']);
    assert.match(warning, /^--pprof-listen-addr=:6060 is no loopback address.* it needs --pprof-allow-remote$/);
    assert.deepEqual(others, []);
    assert.deepEqual(await warningsOf([...daemon, '--pprof-listen-addr=:6060', '--pprof-allow-remote']), []);
    assert.deepEqual(await warningsOf([...daemon, '--pprof-listen-addr=[::1]:6060']), []);
  }
  const remote = { host: '', port: 6060 };
  const local = { host: '127.0.0.1', port: 6060 };
  assert.equal(profileAddress({ pprofListenAddr: remote, pprofAllowRemote: false }), undefined);
  assert.equal(profileAddress({ pprofListenAddr: remote, pprofAllowRemote: true }), remote);
  assert.equal(profileAddress({ pprofListenAddr: local, pprofAllowRemote: false }), local);
  assert.equal(profileAddress({ pprofListenAddr: undefined, pprofAllowRemote: true }), undefined);
});

test('Pings and ages of connections mean with 0 what they mean in gRPC for Go', async () => {
  const pings = ['--grpc-keepalive-time-duration=0s', '--grpc-keepalive-timeout-duration=0'];
  const NEVER_MS = 2_147_483_647;
  assert.deepEqual(serverKeepalive((await server([...SERVER, ...pings])).flags), {
    timeMs: 7_200_000,
    timeoutMs: 20_000,
  });
  assert.deepEqual(clientKeepalive(await agent([...AGENT, ...pings])), {
    timeMs: 10_000,
    timeoutMs: 20_000,
    permitWithoutStream: false,
  });
  const bounds = async (text: string): Promise<number[]> => {
    const names = ['idle', 'age', 'age-grace'].map((name) => `--grpc-max-connection-${name}-duration=${text}`);
    const { maxConnectionIdleMs, maxConnectionAgeMs, maxConnectionAgeGraceMs } = connectionBounds(
      (await server([...SERVER, ...names])).flags,
    );
    return [maxConnectionIdleMs, maxConnectionAgeMs, maxConnectionAgeGraceMs];
  };
  assert.deepEqual(await bounds('0s'), [NEVER_MS, NEVER_MS, NEVER_MS]);
  // A timer that is longer than Node has would end each connection at once.
  assert.deepEqual(await bounds('8760h'), [NEVER_MS, NEVER_MS, NEVER_MS]);
  assert.deepEqual(await bounds('1ns'), [1, 1, 1]);
  assert.deepEqual(await bounds('5m'), [300_000, 300_000, 300_000]);
});

test('A server that is not told how agents prove their nodes says what that leaves open, and one that is told says nothing', async () => {
  const { warnings } = await server(SERVER);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /every pod, and so does whoever is root on a node; --agent-identity=token holds/);
  for (const mode of ['off', 'auto', 'host-ip', 'token']) {
    assert.deepEqual((await server([...SERVER, `--agent-identity=${mode}`])).warnings, []);
  }
});

test('Where both base ARN flags are given, autodetection wins', async () => {
  const { flags } = await server([...SERVER, '--role-base-arn-autodetect']);
  assert.equal(flags.roleBaseArnAutodetect, true);
});

for (const [word, level] of Object.entries({
  debug: 'debug',
  info: 'info',
  warn: 'warn',
  warning: 'warn',
  error: 'error',
})) {
  test(`--level=${word} is accepted`, async () =>
    assert.equal((await agent([...AGENT, `--level=${word}`])).level, level));
}

/** A command line and the one problem that it has. */
const REFUSED: readonly (readonly [readonly string[], RegExp])[] = [
  [[...AGENT, '--hots=1.2.3.4'], /^unknown flag --hots$/],
  [
    [...AGENT, '--whitelist-route-regexp=^$'],
    /^unknown flag --whitelist-route-regexp: since Kiam 4 it is --allow-route-regexp$/,
  ],
  [[...HEALTH, '--grpc-keepalive-time-ms=10s'], /since Kiam 4 it is --grpc-keepalive-time-duration$/],
  [[...SERVER, '--grpc-keepalive-timeout-ms=2s'], /since Kiam 4 it is --grpc-keepalive-timeout-duration$/],
  [[...SERVER, '--statsd=127.0.0.1:8125'], /metrics are at --prometheus-listen-addr$/],
  [[...AGENT, '--statsd-prefix=kiam'], /metrics are at --prometheus-listen-addr$/],
  [['doctor', '--compare-kiam=5'], /^--compare-kiam=5 is none of 2, 3, 4$/],
  [[...AGENT, '--no-hots'], /^unknown flag --no-hots$/],
  [[...AGENT, '-p'], /^unknown flag -p$/],
  [[...AGENT, '-port=1'], /^unknown flag -port=1$/],
  [[...AGENT, '-_=x'], /^unknown flag -_=x$/],
  [[...AGENT, '--bind=:1'], /^unknown flag --bind \(it belongs to server\)$/],
  [[...HEALTH, '--prometheus-listen-addr=:1'], /^unknown flag --prometheus-listen-addr \(it belongs to agent\)$/],
  [[...AGENT, '--_=x'], /^unknown flag --_$/],
  [[...AGENT, '--__proto__=x'], /^unknown flag /],
  [[...AGENT, '--constructor'], /^unknown flag --constructor$/],
  [[...AGENT, '--no-toString'], /^unknown flag --no-toString$/],
  [[...AGENT, '--get-yargs-completions'], /^unknown flag --get-yargs-completions$/],
  [[...AGENT, 'server'], /^unexpected argument server$/],
  [[...AGENT, '--', '--port=1'], /^unexpected argument --port=1$/],
  [[...AGENT, '--port'], /^--port needs a value$/],
  [[...AGENT, '--wait', '--iptables'], /^--wait needs a value$/],
  [[...AGENT, '--no-port'], /^--no-port is unknown: the flag takes a value$/],
  [[...AGENT, '--iptables=yes'], /^--iptables=yes is neither true nor false$/],
  [[...AGENT, '--port=65536'], /^--port=65536 is not a whole number from 0 to 65535$/],
  [[...AGENT, '--port=80.5'], /^--port=80.5 is not a whole number/],
  [[...AGENT, '--port=0x50'], /^--port=0x50 is not a whole number/],
  [[...AGENT, '--pod-rate', '-1'], /^--pod-rate=-1 is not a whole number/],
  [[...AGENT, '--level=trace'], /^--level=trace is none of debug, info, warn, warning, error$/],
  [[...AGENT, '--level=constructor'], /^--level=constructor is none of/],
  [[...AGENT, '--cert=/does/not/exist'], /^--cert=\/does\/not\/exist does not exist$/],
  [[...AGENT, `--key=${join(directory, 'folder')}`], /^--key=\S+ is not a file$/],
  [[...AGENT, '--ca=a\0b'], /^--ca="a\\u0000b" cannot be read/],
  [
    [...AGENT, '--host=node-1', '--iptables'],
    /^--iptables cannot redirect to this --host: "node-1" is not an IP address$/,
  ],
  [
    [...AGENT, '--host=192.0.2.1,', '--iptables'],
    /^--iptables cannot redirect to this --host: "" is not an IP address$/,
  ],
  [[...AGENT, '--host=node-1', '--uninstall'], /^--uninstall needs IP addresses in --host, or no --host$/],
  [[...AGENT, '--host=127.0.0.1', '--iptables'], /^--iptables cannot redirect to this --host: 127.0.0.1 is a loopback/],
  [[...AGENT, '--host-interface='], /^--host-interface="" is no interface/],
  [[...AGENT, '--host-interface=-j'], /^--host-interface=-j is no interface/],
  [[...AGENT, '--host-interface=a b'], /^--host-interface="a b" is no interface/],
  [[...AGENT, '--host-interface=abcdefghijklmnop'], /^--host-interface=abcdefghijklmnop is no interface/],
  [[...AGENT, '--allow-route-regexp=('], /^--allow-route-regexp=\( is no RE2 expression: .*missing closing \)/],
  [[...AGENT, '--allow-route-regexp=(?=x)'], /^--allow-route-regexp=\(\?=x\) is no RE2 expression/],
  [[...AGENT, '--metadata-endpoint=https://169.254.169.254'], /is no http:\/\/ URL$/],
  [[...AGENT, '--metadata-endpoint=http://u:p@host'], /has more than a host and a port$/],
  [[...AGENT, '--metadata-endpoint=http://host/latest'], /has more than a host and a port$/],
  [[...AGENT, '--listen-address=eth0'], /^--listen-address=eth0 is no IP address$/],
  [[...AGENT, '--server-address=kiam-server'], /^--server-address=kiam-server is not of the form host:port/],
  [[...AGENT, '--server-address=:443'], /^--server-address=:443 is not of the form host:port$/],
  [[...AGENT, '--prometheus-listen-addr=9620'], /^--prometheus-listen-addr=9620 is not of the form host:port/],
  [[...AGENT, '--pprof-listen-addr=6060'], /^--pprof-listen-addr=6060 is not of the form host:port/],
  [[...AGENT, '--allow-ip-query'], /^--allow-ip-query lets any client be any pod/],
  [[...AGENT, '--allow-ip-query', '--listen-address=10.0.0.1'], /^--allow-ip-query lets any client be any pod/],
  [[...AGENT, '--iptables', '--port=0'], /^--iptables needs a --port/],
  [[...AGENT, '--iptables-remove-guard'], /^--iptables-remove-guard needs --iptables-remove/],
  [[...AGENT, '--guard-only', '--iptables-remove'], /contradict each other$/],
  [[...AGENT, '--iptables', '--uninstall'], /not together with --iptables or --guard-only$/],
  [['server', ...TLS], /^one of --role-base-arn and --role-base-arn-autodetect must be given$/],
  [
    ['server', ...TLS, '--role-base-arn=arn:aws:iam::123456789012:role'],
    /is not of the form arn:aws:iam::123456789012:role\/$/,
  ],
  [['server', ...TLS, '--role-base-arn='], /^one of --role-base-arn and --role-base-arn-autodetect must be given$/],
  [['server', ...TLS, '--role-base-arn=arn:aws:iam::1:instance-profile/x'], /is not of the form/],
  [[...SERVER, '--assume-role-arn=arn:aws:iam::1:user/x'], /is not the ARN of a role$/],
  [
    [...SERVER, '--assume-role-arn=kiam', '--session-duration=2h'],
    /^--session-duration may be at most 1h with --assume-role-arn/,
  ],
  [[...SERVER, '--session-duration=14m59s'], /^--session-duration=14m59s is less than 15m$/],
  [[...SERVER, '--session-duration=13h'], /^--session-duration=13h is more than 12h$/],
  [[...SERVER, '--session='], /^--session="" is empty$/],
  [[...SERVER, '--region=evil.example/'], /is not the name of a region/],
  [[...SERVER, '--bind=0.0.0.0'], /^--bind=0.0.0.0 is not of the form host:port/],
  [[...SERVER, '--fetchers=-1'], /^--fetchers=-1 is not a whole number from 0/],
  [[...SERVER, '--kubeconfig=/does/not/exist'], /does not exist$/],
  [
    [...SERVER, '--agent-service-account=kiam-agent'],
    /^--agent-service-account=kiam-agent is not of the form system:service/,
  ],
  [[...SERVER, '--agent-identity=maybe'], /^--agent-identity=maybe is none of off, auto, host-ip, token$/],
  [[...SERVER, '--grpc-max-connection-age-duration=-1s'], /is less than 0s$/],
  [[...AGENT, '--grpc-keepalive-time-duration=-1s'], /is less than 0s$/],
  [[...SERVER, '--sync=1'], /is not a duration/],
  [
    [],
    /^no command is given: it must be one of agent, server, health, pki, policy, kube2iam, convert, explain, status, export, whois, doctor$/,
  ],
  [
    ['agnet'],
    /^unknown command agnet: it must be one of agent, server, health, pki, policy, kube2iam, convert, explain, status, export, whois, doctor$/,
  ],
];

for (const [argv, expected] of REFUSED) {
  const words = argv.filter((word) => !word.includes('/file.pem')).join(' ');
  test(`Refused: kiam ${JSON.stringify(words)}`, async () => {
    const found = await problems(argv);
    assert.equal(found.length, 1, JSON.stringify(found));
    assert.match(found[0] ?? '', expected);
  });
}

const ACCEPTED: readonly (readonly string[])[] = [
  [...AGENT, '--allow-ip-query', '--listen-address=127.0.0.1'],
  [...AGENT, '--pprof-listen-addr=10.0.0.1:6060', '--pprof-allow-remote'],
  [...AGENT, '--pprof-listen-addr=localhost:6060'],
  [...AGENT, '--pprof-listen-addr='],
  [...AGENT, '--iptables-remove', '--iptables-remove-guard', '--iptables'],
  [...AGENT, '--no-iptables-remove'],
  [...AGENT, '--host=127.0.0.1'],
  [...AGENT, '--host=node-1'],
  [...AGENT, '--host='],
  [...AGENT, '--pprof-listen-addr=:6060'],
  [...AGENT, '--grpc-keepalive-time-duration=0s', '--grpc-keepalive-timeout-duration=0s'],
  [...AGENT, '--grpc-keepalive-time-duration=48h', '--prometheus-sync-interval=48h', '--server-address-refresh=48h'],
  [...HEALTH, '--grpc-keepalive-time-duration=0s', '--grpc-keepalive-timeout-duration=0s'],
  [...SERVER, '--grpc-keepalive-time-duration=0s', '--grpc-keepalive-timeout-duration=0s'],
  [...SERVER, '--grpc-max-connection-idle-duration=0s'],
  [...SERVER, '--grpc-max-connection-age-duration=0s'],
  [...SERVER, '--grpc-max-connection-age-grace-duration=0s'],
  [...SERVER, '--grpc-max-connection-age-duration=87600h'],
  [...SERVER, '--pprof-listen-addr=0.0.0.0:6060'],
  [...SERVER, '--sync=0s'],
  [...SERVER, '--sync=1ns'],
  [...SERVER, '--sync=-1m'],
  [...SERVER, '--sync=48h'],
  [...SERVER, '--fetchers=0'],
  [...SERVER, '--fetchers=5000'],
  ['server', ...TLS, '--role-base-arn=', '--role-base-arn-autodetect'],
  [...SERVER, '--assume-role-arn=kiam-server', '--session-duration=1h'],
  [...SERVER, '--session-duration=15m', '--session-refresh=0s'],
  [...SERVER, '--role-base-arn=arn:aws-us-gov:iam::1:role/team/'],
  [...SERVER, '--region=us-gov-west-1'],
  [...SERVER, '--region='],
];

for (const argv of ACCEPTED) {
  const words = argv.filter((word) => !word.includes('/file.pem')).join(' ');
  test(`Accepted: kiam ${words}`, async () => assert.deepEqual(await problems(argv), []));
}

test('All problems are named at once', async () => {
  const found = await problems(['agent', '--port=x', '--wait=1', '--typo', '--allow-ip-query', 'extra', '--cert=/no']);
  assert.equal(found.length, 9, found.join('\n'));
  const starts = [
    'unexpected argument',
    'unknown flag',
    '--key',
    '--ca',
    '--host',
    '--port',
    '--wait',
    '--cert',
    '--allow-ip-query',
  ];
  for (const start of starts)
    assert.ok(
      found.some((problem) => problem.startsWith(start)),
      start,
    );
});

test('No command line throws, and every refusal has a reason on one line', async () => {
  const word = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      'agent',
      '--',
      '-',
      '---',
      '--=',
      '--no-',
      '-=',
      '--a.__proto__.b=1',
      '--hasOwnProperty',
      '-_=x',
      '--$0',
    ),
    fc
      .tuple(fc.constantFrom('--port', '--no-iptables', '--host', '--iptables'), fc.string())
      .map((parts) => parts.join('=')),
  );
  const anyLine = fc.array(word, { maxLength: 8 });
  const holds = fc.asyncProperty(anyLine, async (argv) => {
    const line = await parse(argv);
    if (line.kind !== 'problems') return;
    assert.ok(line.problems.length > 0);
    for (const problem of line.problems) assert.match(problem, /^[\x20-\x7e]+$/);
  });
  await fc.assert(holds, { numRuns: 300 });
});

test('A problem shows a value on one line and cut short', async () => {
  const [problem = ''] = await problems([...AGENT, `--level=${'x\n'.repeat(1000)}`]);
  assert.ok(problem.length < 300 && !problem.includes('\n'), problem);
});

test('A program that does not offer a command says so, and what it offers', async () => {
  const commands: CommandName[] = ['agent', 'health'];
  const refused = await parseCommandLine(SERVER, {}, { version: '1', commands });
  assert.deepEqual(refused, {
    kind: 'problems',
    problems: ['this program has no server, which comes in an image of its own; it offers agent, health'],
  });
  assert.equal((await parseCommandLine(AGENT, {}, { version: '1', commands })).kind, 'agent');
  const help = await parseCommandLine(['--help'], {}, { version: '1', commands });
  assert.ok(help.kind === 'help' && help.text.includes('kiam agent') && !help.text.includes('kiam server'));
});

test('--version and --help answer on every command, whatever else is wrong', async () => {
  for (const command of [
    [],
    ['agent'],
    ['server'],
    ['health'],
    ['pki'],
    ['explain'],
    ['status'],
    ['export'],
    ['doctor'],
  ]) {
    assert.deepEqual(await parse([...command, '--version']), { kind: 'version', text: 'kiam 1.2.3' });
    assert.equal((await parse([...command, '--help', '--typo'])).kind, 'help');
  }
  const [word, flag] = [await parse(['help', 'agent']), await parse(['agent', '--help'])];
  assert.deepEqual(word, flag);
});

/** Kiam's own flags with their defaults, as Kiam v4 has them but for the two of the session and `--fetchers`, which are ours on purpose. */
const KIAMS: Readonly<Record<'agent' | 'server' | 'health', string>> = {
  agent: `json-log level:info prometheus-listen-addr:off prometheus-sync-interval:5s pprof-listen-addr:off cert key ca
    server-address:localhost:9610 server-address-refresh:0s gateway-timeout-creation:1s grpc-keepalive-time-duration:10s
    grpc-keepalive-timeout-duration:2s grpc-keepalive-permit-without-stream port:3100 host host-interface:docker0 iptables
    iptables-remove allow-ip-query allow-route-regexp:^$`,
  server: `json-log level:info prometheus-listen-addr:off prometheus-sync-interval:5s pprof-listen-addr:off cert key ca
    grpc-keepalive-time-duration:10s grpc-keepalive-timeout-duration:2s bind:localhost:9610 kubeconfig sync:1m
    fetchers:as_many_as_--sts-rate_allows prefetch-buffer-size:1000 role-base-arn role-base-arn-autodetect disable-strict-namespace-regexp session:kiam
    session-duration:1h session-refresh:half_of_--session-duration assume-role-arn region
    grpc-max-connection-idle-duration:15m grpc-max-connection-age-duration:15m
    grpc-max-connection-age-grace-duration:15m`,
  health: `json-log level:info cert key ca server-address:localhost:9610 server-address-refresh:0s gateway-timeout-creation:1s
    grpc-keepalive-time-duration:10s grpc-keepalive-timeout-duration:2s grpc-keepalive-permit-without-stream timeout:1s`,
};

/** What the help says of a flag's default; undefined where it does not show the flag. */
function defaultShown(help: string, name: string): string | undefined {
  const entry = new RegExp(`^  --${name} ([^]*?)(?=^  --|^\\S|^$)`, 'm').exec(help)?.[1];
  return entry === undefined ? undefined : (/\[default: ([^\]]*)\]/.exec(entry)?.[1] ?? '');
}

for (const [command, flags] of Object.entries(KIAMS)) {
  test(`The help of ${command} shows every flag of Kiam with its default`, async () => {
    const help = await parse([command, '--help']);
    assert.ok(help.kind === 'help');
    for (const flag of flags.split(/\s+/)) {
      const [, name = '', value = ''] = /^([^:]+):?(.*)$/.exec(flag) ?? [];
      assert.equal(defaultShown(help.text, name), value.replaceAll('_', ' '), `default of --${name}`);
    }
  });
}

for (const command of ['agent', 'server', 'health', 'pki', 'explain', 'status', 'export', 'doctor']) {
  test(`The help of ${command} is plain text within 110 columns`, async () => {
    const help = await parse([command, '--help']);
    assert.ok(help.kind === 'help');
    for (const line of help.text.split('\n')) assert.ok(line.length <= 110 && /^[\x20-\x7e]*$/.test(line), line);
  });
}

test('docs/flags.md is what `npm run docs` writes', async () => {
  assert.equal(await readFile(new URL('../../../docs/flags.md', import.meta.url), 'utf8'), flagsPage());
});

test('pki takes one step at a time, and only one that can be taken', async () => {
  const steps: readonly [string, readonly string[]][] = [
    ['create', []],
    ['renew', ['--renew', '--out=x']],
    ['renew', ['--renew', '--ca=ca.pem', '--ca-key=ca-key.pem']],
    ['rotate-begin', ['--rotate-ca=begin', '--out=x']],
    ['rotate-finish', ['--rotate-ca=finish', '--out=x']],
  ];
  for (const [mode, flags] of steps) {
    const read = await parse(['pki', ...flags]);
    assert.ok(read.kind === 'pki', JSON.stringify(read));
    assert.equal(pkiMode(read.flags), mode);
  }
  const refused: readonly (readonly string[])[] = [
    ['--renew'],
    ['--renew', '--out=x', '--rotate-ca=begin'],
    ['--rotate-ca=begin'],
    ['--rotate-ca=later', '--out=x'],
    ['--renew', '--out=x', '--ca=ca.pem'],
    ['--ca=ca.pem', '--ca-key=ca-key.pem'],
    ['--no-manifests'],
    ['--namespace=a/b'],
    ['--server-names=a b'],
    ['--valid-for=0s'],
  ];
  for (const flags of refused) assert.equal((await parse(['pki', ...flags])).kind, 'problems', flags.join(' '));
});

test('explain names one pod, and asks a server or the API', async () => {
  const read = await parse(['explain', 'team/app-7d9', '--json', '--timeout=2s']);
  assert.ok(read.kind === 'explain', JSON.stringify(read));
  assert.deepEqual(read.flags, {
    pod: { namespace: 'team', name: 'app-7d9' },
    json: true,
    timeoutMs: 2000,
    adminSocket: undefined,
    kubeconfig: '',
    roleBaseArn: undefined,
    session: 'kiam',
    disableStrictNamespaceRegexp: false,
    namespacePolicy: 'kiam',
    namespaceRestrictionFormat: 'glob',
    binding: 'both',
    ...PLAIN_SESSIONS,
  });
  const given = await parse(['explain', 'team/app', '--admin-socket=/run/kiam.sock']);
  assert.ok(given.kind === 'explain');
  assert.equal(given.flags.adminSocket, '/run/kiam.sock');
  const api = await parse(['explain', `--kubeconfig=${pem}`, '--session=ours', 'team/app']);
  assert.ok(api.kind === 'explain');
  assert.deepEqual([api.flags.kubeconfig, api.flags.session], [pem, 'ours']);
});

test('explain refuses what names no pod and flags that would mean nothing', async () => {
  const form = 'the argument is not of the form NAMESPACE/POD';
  const cases: readonly [readonly string[], readonly string[]][] = [
    [[], ['NAMESPACE/POD must be given']],
    [['app'], [form]],
    [['team/app/'], [form]],
    [['Team/app'], [form]],
    [['team/a b'], [form]],
    [['team/app', 'team/other'], ['unexpected argument team/other']],
    [['team/app', '--session=x'], ['--session has no meaning without --kubeconfig: a server knows its own']],
    [
      ['team/app', `--kubeconfig=${pem}`, '--admin-socket=/x'],
      ['--kubeconfig and --admin-socket contradict each other: with the first no server is asked'],
    ],
    [['team/app', '--admin-socket=x'], ['--admin-socket=x is no absolute path']],
    [
      ['team/app', `--admin-socket=/${'x'.repeat(107)}`],
      [`--admin-socket=/${'x'.repeat(99)}... is longer than the 107 bytes that a socket may have`],
    ],
  ];
  for (const [argv, expected] of cases) assert.deepEqual(await problems(['explain', ...argv]), expected);
});

test('export names a way to leave by, and refuses flags that would mean nothing', async () => {
  const pods = [
    'export',
    '--to=pod-identity',
    '--cluster-name=a',
    '--region=eu-west-1',
    '--role-base-arn=arn:aws:iam::1:role/',
  ];
  const line = await parse(pods);
  assert.ok(line.kind === 'export', JSON.stringify(line));
  const { to, undo, timeoutMs, binding } = line.flags;
  assert.deepEqual([to, undo, timeoutMs, binding], ['pod-identity', false, 120_000, 'both']);
  const issuer = 'https://oidc.eks.eu-west-1.amazonaws.com/id/0';
  const cases: readonly (readonly [readonly string[], readonly string[]])[] = [
    [[...pods, '--to=irsa'], ['--to=irsa needs --oidc-issuer']],
    [[...pods, '--to=irsa', `--oidc-issuer=${issuer}`], []],
    [[...pods, `--oidc-issuer=${issuer}`], ['--oidc-issuer has no meaning with --to=pod-identity']],
    [
      [...pods, '--to=irsa', '--oidc-issuer=https://a/"'],
      [
        '--oidc-issuer=https://a/" is not a URL such as https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF',
        '--to=irsa needs --oidc-issuer',
      ],
    ],
    [[...pods, '--region='], ['--region must name the region of the cluster']],
  ];
  for (const [argv, expected] of cases) assert.deepEqual(await problems(argv), expected);
  for (const wrong of ['--cluster-name=a b', '--intermediate-role=arn:x', '--to=elsewhere']) {
    assert.equal((await problems([...pods, wrong])).length, 1, wrong);
  }
  assert.equal((await problems(['export'])).length, 4);
});

const MANY_KEYS = Array.from({ length: 45 }, (_, index) => `k${index}`).join();

test('a server that names and tags sessions gets what the flags say, and refuses what AWS would', async () => {
  const { flags } = await server([
    ...SERVER,
    '--session-name={namespace}.{serviceAccount}',
    '--session-tags=workload',
    '--cluster-name=prod',
    '--cluster-arn=arn:aws:eks:eu-west-1:123456789012:cluster/prod',
    '--allowed-session-tags=team,cost-centre',
    '--transitive-session-tags',
  ]);
  assert.deepEqual(
    [flags.sessionName?.text, flags.sessionTags, flags.allowedSessionTags, flags.transitiveSessionTags],
    ['{namespace}.{serviceAccount}', 'workload', ['team', 'cost-centre'], true],
  );
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['--session-name={node}'], /^--session-name=\{node\} has \{node\} in it, which is none of/],
    [['--source-identity={cluster}'], /^\{cluster\} needs --cluster-name$/],
    [['--allowed-session-tags=team'], /^--allowed-session-tags has no effect without --session-tags=workload or pod$/],
    [['--transitive-session-tags'], /^--transitive-session-tags has no effect without/],
    [['--cluster-name=a;b'], /cannot be a session tag: the value of a session tag has at most 256/],
    [['--session-tags=pod', '--allowed-session-tags=Kubernetes-Namespace'], /which only the server sets$/],
    [['--session-tags=pod', '--allowed-session-tags=team,Team'], /a key twice/],
    [['--session-tags=pod', `--allowed-session-tags=${MANY_KEYS}`], /more than 44 keys/],
    ...['aws:x', 'a b', 'x'.repeat(52), 'a,,b'].map(
      (keys) => [['--session-tags=pod', `--allowed-session-tags=${keys}`], /cannot be annotated/] as const,
    ),
  ];
  for (const [argv, reason] of cases) {
    const found = await problems([...SERVER, ...argv]);
    assert.equal(found.length, 1, found.join('; '));
    assert.match(found[0] ?? '', reason, argv.join(' '));
  }
});
