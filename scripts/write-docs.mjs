// Writes docs/flags.md from the table of flags. A test fails when the page and the table differ.
import { writeFileSync } from 'node:fs';

import { flagsPage } from '../test/support/flags-page.ts';

writeFileSync(new URL('../docs/flags.md', import.meta.url), flagsPage());
