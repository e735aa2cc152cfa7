// Writes docs/flags.md from the table of flags, and counts the lines that docs/architecture.md tells. Tests compare both.
import { readFileSync, writeFileSync } from 'node:fs';

import { flagsPage } from '../test/support/flags-page.ts';
import { withLineCounts } from '../test/support/line-counts.ts';

const page = (name) => new URL(`../docs/${name}`, import.meta.url);

writeFileSync(page('flags.md'), flagsPage());
writeFileSync(page('architecture.md'), await withLineCounts(readFileSync(page('architecture.md'), 'utf8')));
