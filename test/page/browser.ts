import { existsSync } from 'node:fs';

import { type Browser, launch } from 'puppeteer-core';

/** Debian's and Ubuntu's place for it, unless CHROMIUM says otherwise. */
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

export const hasChromium = existsSync(CHROMIUM);

/** The system's own browser, without a window and without anybody's settings. */
export function startBrowser(): Promise<Browser> {
  return launch({
    executablePath: CHROMIUM,
    headless: true,
    // As root in a container there is no sandbox of Chromium's own; it opens nothing but our page.
    args: [
      '--no-sandbox',
      '--disable-dev-shm-usage',
      '--disable-gpu',
      '--hide-scrollbars',
      '--force-color-profile=srgb',
    ],
    env: { PATH: process.env['PATH'], HOME: '/tmp', LANG: 'C.UTF-8' },
  });
}
