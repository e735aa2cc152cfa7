import { COMMANDS, DOCTOR } from '#bin/flags/commands.ts';
import type { Option, Options } from '#bin/flags/option.ts';

const INTRODUCTION = `# Flags

<!-- Written by \`npm run docs\` from src/bin/flags/table.ts. -->

Every command prints its flags with \`--help\`. Durations are Go's (\`300ms\`, \`1m30s\`). Switches have a \`--no-\` form. All mistakes on a command line are named at once, and the exit code is then 1.

The server reads \`AWS_ENDPOINT_URL_STS\`, \`AWS_CA_BUNDLE\`, profiles, web identity, container and instance credentials as the AWS SDK documents them.
`;

/** Their flags stand under the headings that their help has. */
const DAEMON_COMMANDS: readonly string[] = ['agent', 'server', 'health'];

interface Row {
  readonly name: string;
  readonly option: Option<unknown, string>;
  /** The commands that have it. */
  readonly of: Set<string>;
}

/** What docs/flags.md says: each flag once, under its group where a daemon has it, else under its command. */
export function flagsPage(): string {
  const rows = new Map<string, Row>();
  for (const [command, options] of allOptions()) {
    for (const [name, option] of Object.entries(options)) {
      if (option.positional !== undefined) continue;
      const key = `${name}\n${option.describe}`;
      const row = rows.get(key) ?? { name, option, of: new Set() };
      rows.set(key, row);
      row.of.add(command);
    }
  }
  const sections = Map.groupBy(rows.values(), ({ option, of: [first = ''] }) =>
    DAEMON_COMMANDS.includes(first) ? option.group : `kiam ${first}`,
  );
  return INTRODUCTION + [...sections].map(([title, members]) => section(title, members)).join('');
}

function allOptions(): readonly (readonly [string, Options])[] {
  return [
    ...Object.entries(COMMANDS).map(([name, { options }]): [string, Options] => [name, options]),
    ...Object.values(DOCTOR).map(({ options }): [string, Options] => ['doctor', options]),
  ];
}

function section(title: string, rows: readonly Row[]): string {
  const lines = rows.map(({ name, option, of }) => line(name, option, of));
  return `\n## ${title}\n\n| flag | of | default | meaning |\n|---|---|---|---|\n${lines.join('')}`;
}

function line(name: string, option: Option<unknown, string>, of: ReadonlySet<string>): string {
  // A doctor takes every flag of the daemon that it looks at.
  const commands = [...of].filter((command) => command !== 'doctor' || of.size === 1);
  const shown = option.required === true ? 'required' : option.isSwitch ? String(option.absent) : defaultOf(option);
  return `| \`--${name}\` | ${commands.join(', ')} | ${shown} | ${option.describe.replaceAll('|', '\\|')} |\n`;
}

function defaultOf({ defaultText }: Option<unknown, string>): string {
  return defaultText === undefined ? '' : `\`${defaultText}\``;
}
