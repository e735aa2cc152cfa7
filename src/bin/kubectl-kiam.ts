import { runPlugin } from './plugin/plugin.ts';

await runPlugin(process.argv.slice(2));
