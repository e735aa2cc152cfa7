import type { Options } from './option.ts';

const WIDTH = 110;

/** The help of one command, its flags in groups. */
export async function commandHelp(command: string, describe: string, options: Options): Promise<string> {
  const entries = Object.entries(options);
  const [word] = entries.flatMap(([, { positional }]) => (positional === undefined ? [] : [` ${positional}`]));
  const { default: yargs } = await import('yargs');
  let page = yargs([], '/')
    .scriptName('kiam')
    .locale('en')
    .exitProcess(false)
    .help(false)
    .version(false)
    .usage(`kiam ${command}${word ?? ''} [flags]\n\n${describe}`)
    .wrap(WIDTH);
  for (const [name, option] of entries) {
    if (option.positional !== undefined) continue;
    const shown = option.defaultText;
    page = page.option(name, {
      type: option.isSwitch ? 'boolean' : 'string',
      describe: option.describe,
      group: `${option.group}:`,
      demandOption: option.required === true,
      deprecated: option.deprecated !== undefined,
      ...(shown === undefined ? {} : { default: shown, defaultDescription: shown }),
    });
  }
  page = page.option('help', { type: 'boolean', describe: 'Show this help', group: 'Help:' });
  page = page.option('version', { type: 'boolean', describe: 'Show the version', group: 'Help:' });
  return page.epilogue("Durations are Go's: 300ms, 90s, 1m30s, 1.5h. Each switch has a --no- form.").getHelp();
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
