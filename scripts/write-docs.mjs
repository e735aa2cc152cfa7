// Writes docs/flags.md from the table of flags, docs/clients.md from what clients ask, the tables of docs/performance.md from the results beside it, and counts the
// lines that docs/architecture.md tells. Tests compare them.
import { readFileSync, writeFileSync } from 'node:fs';

import { clientsPage } from '../test/support/clients-page.ts';
import { flagsPage } from '../test/support/flags-page.ts';
import { withLineCounts } from '../test/support/line-counts.ts';
import { withResults } from '../test/support/performance-page.ts';

const page = (name) => new URL(`../docs/${name}`, import.meta.url);
const read = (name) => readFileSync(page(name), 'utf8');

writeFileSync(page('flags.md'), flagsPage());
writeFileSync(page('clients.md'), clientsPage(JSON.parse(read('clients-results.json'))));
writeFileSync(page('architecture.md'), await withLineCounts(read('architecture.md')));
writeFileSync(
  page('performance.md'),
  withResults(read('performance.md'), JSON.parse(read('performance-results.json'))),
);
