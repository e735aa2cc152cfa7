import yargs from 'yargs';
import type { Option, Options } from './option.ts';

const WIDTH = 110;

/** The help of one command, its flags in groups. */
export async function commandHelp(command: string, describe: string, options: Options): Promise<string> {
  let page = yargs([], '/')
    .scriptName('kiam')
    .locale('en')
    .exitProcess(false)
    .help(false)
    .version(false)
    .usage(`kiam ${command} [flags]\n\n${describe}`)
    .wrap(WIDTH);
  for (const [name, option] of Object.entries(options)) page = page.option(name, helpOf(option));
  page = page.option('help', { type: 'boolean', describe: 'Show this help', group: 'Help:' });
  page = page.option('version', { type: 'boolean', describe: 'Show the version', group: 'Help:' });
  return page.epilogue("Durations are Go's: 300ms, 90s, 1m30s, 1.5h. Each switch has a --no- form.").getHelp();
}

function helpOf(option: Option<unknown>): {
  type: 'boolean' | 'string';
  describe: string;
  group: string;
  demandOption: boolean;
  deprecated: boolean;
  defaultDescription?: string;
  default?: string;
} {
  const shown = option.defaultText === 'false' || option.defaultText === '' ? undefined : option.defaultText;
  return {
    type: option.type === 'boolean' ? 'boolean' : 'string',
    describe: option.describe,
    group: `${option.group}:`,
    demandOption: option.required,
    deprecated: option.deprecated !== undefined,
    ...(shown === undefined ? {} : { default: shown, defaultDescription: shown }),
  };
}

export interface CommandSummary {
  readonly name: string;
  readonly describe: string;
}

/** The help of the program as a whole. */
export function programHelp(commands: readonly CommandSummary[]): string {
  const lines = commands.map(({ name, describe }) => `  kiam ${name.padEnd(8)} ${describe}`);
  return ['kiam <command> [flags]', '', 'Commands:', ...lines, '', 'kiam <command> --help shows its flags.'].join('\n');
}
