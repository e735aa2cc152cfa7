import { networkInterfaces } from 'node:os';

import { kernelFiles } from '#agent/evidence/kernel-files.ts';
import { createCommandRunner } from '#agent/interception/command.ts';
import { listKernelInterfaces } from '#agent/interception/interception.ts';
import { EKS_INTERFACE } from '#agent/interception/desired-rules.ts';
import type { Check } from '#doctor/check.ts';
import { checkMetadataService } from '#doctor/metadata-service.ts';
import { checkInterception } from '#doctor/node/interception.ts';
import { checkInterfaces } from '#doctor/node/interfaces.ts';
import { checkOtherInterceptors } from '#doctor/node/other-interceptors.ts';
import { checkPort } from '#doctor/node/port.ts';
import { checkToken } from '#doctor/node/token.ts';
import { checkTokenless } from '#doctor/node/tokenless.ts';
import { checkServers } from '#doctor/servers.ts';
import { createMetadataClient } from '#metadata/client.ts';
import { systemClock } from '#runtime/clock.ts';

import { redirectTargets } from '../flags/agent.ts';
import type { DoctorLine } from '../flags/command-line.ts';
import { certificatesCheck, clockCheck, daemonCheck, flagsCheck, type Found } from './daemon-checks.ts';
import { report } from './report.ts';

type DoctorAgentLine = Extract<DoctorLine, { kind: 'agent' }>;

/** `kiam doctor agent`: checks this node, from the agent's container. */
export async function runDoctorAgent(line: DoctorAgentLine): Promise<void> {
  const { flags, problems, given } = line;
  const found: Found = { snapshot: undefined, clocks: [] };
  const rules = ruleChecks(flags);
  if (flags.guardOnly) return report([flagsCheck(problems, given), ...rules.slice(0, 2)], flags);
  const { host, port } = flags.serverAddress;
  const servers: Check = {
    name: 'servers',
    look: async (signal) => {
      const { snapshot } = found;
      // TLS needs a pair to show; what is wrong with it has been told.
      return snapshot === undefined ? [] : checkServers({ host, port, snapshot, limitMs: SERVER_LIMIT_MS, signal });
    },
  };
  return report(
    [
      flagsCheck(problems, given),
      ...(flags.beforeStart ? [] : [daemonCheck(flags.prometheusListenAddr)]),
      certificatesCheck(flags, 'client', found),
      servers,
      { name: 'token', look: () => checkToken(flags.agentTokenFile, systemClock.now()) },
      ...rules,
      ...(flags.beforeStart ? [] : [tokenlessCheck(flags)]),
      metadataCheck(flags.metadataEndpoint, found),
      clockCheck(found),
    ],
    flags,
  );
}

const SERVER_LIMIT_MS = 3000;

function tokenlessCheck({ prometheusListenAddr: address }: DoctorAgentLine['flags']): Check {
  return { name: 'tokenless', look: (signal) => checkTokenless({ address, clock: systemClock, signal }) };
}

/** The guard's checks come first: with `--guard-only` there are no others. */
function ruleChecks(flags: DoctorAgentLine['flags']): readonly Check[] {
  const { hostInterface, guardInterface, port, beforeStart } = flags;
  const containerPort = flags.containerCredentials ? flags.containerCredentialsPort : undefined;
  const targets = redirectTargets(flags);
  const hostAddresses = targets?.ok === true ? targets.addresses : undefined;
  const rules = { hostAddresses, port, hostInterface, guardInterface, files: kernelFiles, clock: systemClock };
  const run = createCommandRunner({ clock: systemClock });
  return [
    {
      name: 'interception',
      look: async (signal) => {
        const isEksThere = (await listKernelInterfaces()).includes(EKS_INTERFACE);
        return checkInterception({ ...rules, containerPort, isEksThere, beforeStart, run, signal });
      },
    },
    {
      name: 'interfaces',
      look: () => checkInterfaces({ hostInterface, files: kernelFiles, addresses: interfaceAddresses() }),
    },
    { name: 'interceptors', look: (signal) => checkOtherInterceptors({ ...rules, run, signal }) },
    {
      name: 'port',
      look: (signal) => checkPort({ host: flags.listenAddress, port, beforeStart, clock: systemClock, signal }),
    },
  ];
}

function interfaceAddresses(): ReadonlyMap<string, readonly string[]> {
  const entries = Object.entries(networkInterfaces());
  return new Map(entries.map(([name, list = []]) => [name, list.map(({ cidr, address }) => cidr ?? address)]));
}

function metadataCheck(endpoint: string, found: Found): Check {
  return {
    name: 'metadata',
    look: async (signal) => {
      const metadata = createMetadataClient({ endpoint, clock: systemClock });
      const at = { endpoint, onHostNetwork: true, readsWithoutToken: false };
      const options = { ...at, metadata, clock: systemClock, signal };
      const { observations, clock } = await checkMetadataService(options);
      metadata.close();
      if (clock !== undefined) found.clocks.push(clock);
      return observations;
    },
  };
}
