import { checkCertificates } from '#doctor/certificates.ts';
import type { Check } from '#doctor/check.ts';
import { checkClock, type ClockReading } from '#doctor/clock.ts';
import { checkDaemon } from '#doctor/daemon.ts';
import { ok, wrong } from '#doctor/finding.ts';
import type { Side } from '#rpc/any-usage.ts';
import { type CertificateSnapshot, readCertificates } from '#rpc/certificates.ts';
import { systemClock } from '#runtime/clock.ts';
import type { ListenAddress } from '#telemetry/listen-address.ts';

import { certificateFiles } from '../certificates.ts';
import type { FlagsOf } from '../flags/option.ts';
import type { TLS_OPTIONS } from '../flags/table.ts';

/** Results of earlier checks that later ones need. */
export interface Found {
  /** The pair that can be shown to servers; undefined where there is none. */
  snapshot: CertificateSnapshot | undefined;
  readonly clocks: ClockReading[];
}

export function flagsCheck(problems: readonly string[], given: string): Check {
  return {
    name: 'flags',
    look: () =>
      problems.length === 0
        ? [ok(given)]
        : problems.map((problem) => wrong(problem, 'the daemon does not start with it: see `--help`')),
  };
}

export function daemonCheck(address: ListenAddress | undefined): Check {
  return { name: 'daemon', look: (signal) => checkDaemon({ address, clock: systemClock, signal }) };
}

export function certificatesCheck(
  flags: FlagsOf<typeof TLS_OPTIONS>,
  side: Side,
  found: Found,
  dialled?: string,
): Check {
  const files = certificateFiles(flags);
  return {
    name: 'certificates',
    look: async () => {
      // Flags that are not given are told by the check of the flags.
      if (Object.values(files).includes('')) return [];
      const nowMs = systemClock.now();
      const reading = await readCertificates(files, nowMs);
      if ('snapshot' in reading) found.snapshot = reading.snapshot;
      return checkCertificates({ files, reading, side, nowMs, dialled });
    },
  };
}

/** Runs last: it compares clocks that the other checks have read. */
export function clockCheck(found: Found): Check {
  return { name: 'clock', look: () => checkClock(found.clocks) };
}
