import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import axe from 'axe-core';
import type { Browser, Page } from 'puppeteer-core';

import { eventually } from '../support/eventually.ts';
import { hasChromium, startBrowser } from './browser.ts';
import { longestTasks } from './longest-tasks.ts';
import { nodeName, type PageWorld, podAt, putWorkload, startPageWorld } from './page-world.ts';

/*
 * The page in a real browser, before a real server. KIAM_PICTURES=FOLDER also takes pictures of its states, to be looked at.
 */

const WIDE = { width: 1440, height: 1000 };
const NARROW = { width: 360, height: 760 };
const LIMIT_MS = 20_000;
const PICTURES = process.env['KIAM_PICTURES'] ?? '';
const SMALL = { nodes: 30, agents: 28, pods: 300, roles: 120 };
const LARGE = { nodes: 500, agents: 20, pods: 10_000, roles: 400 };
const FAILING = podAt(137, SMALL);
const EVIL = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>\u202egnp.exe\u0000\u001b[31m\u2066\u05d0\u05d1`;

const missing = hasChromium ? false : 'NOT TESTED: no chromium (Debian: apt-get install chromium; CHROMIUM=PATH)';
if (missing !== false && process.env['KIAM_REQUIRE_BROWSER'] === '1') throw new Error(missing);

describe('the status page in a browser', { skip: missing }, () => {
  let browser: Browser;
  let cluster: PageWorld;
  /** Everything that the page complained about or asked of others. */
  const complaints: string[] = [];

  const open = async ({ url } = cluster, hash = ''): Promise<Page> => {
    const page = await browser.newPage();
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('dialog', (dialog) => complaints.push(dialog.message()));
    page.on('request', (request) => {
      if (!request.url().startsWith(url)) complaints.push(request.url());
    });
    await page.setViewport(WIDE);
    await page.goto(url + hash);
    await page.waitForSelector('.tile');
    return page;
  };
  const picture = async (page: Page, name: string, fullPage = true): Promise<void> => {
    if (PICTURES !== '') await page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage });
  };
  const textOf = (page: Page, selector: string): Promise<string> =>
    page.evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ''`).then(String);
  const shows = (page: Page, selector: string, text: string): Promise<unknown> =>
    page.waitForFunction(
      `document.querySelector(${JSON.stringify(selector)})?.textContent?.includes(${JSON.stringify(text)}) === true`,
      { timeout: LIMIT_MS },
    );
  const isWider = (page: Page): Promise<boolean> =>
    page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth').then(Boolean);

  before(async () => {
    if (PICTURES !== '') await mkdir(PICTURES, { recursive: true });
    browser = await startBrowser();
    cluster = await startPageWorld(SMALL, (world) => {
      // One pod alone has a role of its own, whose trust policy lets nobody in.
      putWorkload(world, { ...FAILING, role: `${FAILING.namespace}/exporter`, index: 137 });
      world.sts.role(`${world.roleBaseArn}${FAILING.namespace}/exporter`, { deny: true });
    });
  });
  after(async () => {
    await browser?.close();
    await cluster?.close();
  });

  it('the page shows at once which of 300 pods fails and why, and its chain at a click', async () => {
    const page = await open();
    await page.waitForSelector('#failing a');
    assert.match(await textOf(page, '#tiles'), /Failing pods\s+1\s+of 300 pods/);
    const failing = await textOf(page, '#failing');
    assert.match(failing, /^STS failed .*AccessDenied.*exporter/);
    assert.ok(failing.includes(`${FAILING.namespace}/${FAILING.name}`) && failing.includes(nodeName(FAILING.node)));
    assert.equal((await page.$$('.cell')).length, 30);
    assert.equal((await page.$$('.cell.failing')).length, 1);
    assert.equal(await page.title(), '(1) Kiam');
    await picture(page, 'failing', false);
    await page.click('#failing a');
    await page.waitForSelector('.chain .no');
    assert.match(await textOf(page, '.outcome'), /^GETS NOTHING\s+STS failed/i);
    assert.match(await textOf(page, '.chain .no'), /credentials[^]*AccessDenied/);
    await picture(page, 'pod', false);
    await closeDetail(page);
    await page.close();
  });

  for (const { scheme, viewport } of [
    { scheme: 'light', viewport: WIDE },
    { scheme: 'light', viewport: NARROW },
    { scheme: 'dark', viewport: WIDE },
    { scheme: 'dark', viewport: NARROW },
  ]) {
    it(`axe finds nothing serious on the page, ${scheme}, ${viewport.width} pixels wide`, async () => {
      const page = await open();
      await page.setViewport(viewport);
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
      await page.waitForSelector('#failing a');
      assert.equal(await isWider(page), false, 'nothing is wider than the screen');
      await picture(page, `${scheme}-${viewport.width}`);
      await page.type('#search', 'billing');
      await page.waitForSelector('#found-pods li');
      await assertAccessible(page);
      await page.click('#failing a');
      await page.waitForSelector('.chain .no');
      await assertAccessible(page);
      assert.equal(await isWider(page), false, 'nor is the sheet');
      await picture(page, `${scheme}-${viewport.width}-pod`, false);
      await page.close();
    });
  }

  it('the page is used by the keyboard alone', async () => {
    const page = await open();
    await page.waitForSelector('.cell');
    await page.keyboard.press('/');
    await page.keyboard.type(FAILING.name);
    await page.waitForFunction("document.querySelectorAll('#found-pods li').length === 1");
    await picture(page, 'search');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open] .chain .no');
    await closeDetail(page);
    await page.focus('.cell[tabindex="0"]');
    assert.equal((await page.$$('.cell[tabindex="0"]')).length, 1, 'one stop of the Tab key');
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowUp', 'ArrowLeft'] as const)
      await page.keyboard.press(key);
    const label = String(await page.evaluate('document.activeElement?.title'));
    assert.ok(label.startsWith(nodeName(1)), label);
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open] .pods li');
    assert.match(await textOf(page, '#detail-title'), /^Pods on ip-10-0-0-1\./);
    await picture(page, 'node', false);
    await closeDetail(page);
    await page.close();
  });

  it('the page keeps itself up to date, and says it to a screen reader', async () => {
    const page = await open();
    await page.waitForSelector('#failing a');
    const { world } = cluster;
    world.namespace('mail', `${world.roleBaseArn}other/.*`);
    await shows(page, '#failing', 'mail/mail-api');
    await shows(page, '#announce', 'pods fail');
    await shows(page, '#events', 'lost their role');
    await picture(page, 'many-fail');
    world.namespace('mail', `${world.roleBaseArn}mail/.*`);
    await shows(page, '#announce', '1 pod fails');
    await shows(page, '#events', 'lost their role');
    await page.close();
  });

  it('annotations with markup, control characters, other directions and 64 KiB are shown as text', async () => {
    const { world } = cluster;
    const names = ['markup', 'long', 'arabic'];
    const roles = [EVIL, `${'A'.repeat(65_000)}${EVIL}`, '\u0645\u0631\u062d\u0628\u0627 \u202e role'];
    for (const [index, name] of names.entries()) {
      putWorkload(world, { namespace: 'search', name, role: roles[index] ?? '', node: 2, index: 1000 + index });
    }
    putWorkload(world, { namespace: 'evil', name: 'app', role: 'reader', node: 2, index: 1003 });
    world.namespace('evil', `(${EVIL}`);
    const page = await open();
    await shows(page, '#failing', 'evil/app');
    for (const name of [...names, 'app']) {
      const namespace = name === 'app' ? 'evil' : 'search';
      await page.goto(`${cluster.url}#pod=${namespace}/${name}`);
      await page.waitForSelector('dialog[open] .chain .no');
      await assertHarmless(page);
      await picture(page, `hostile-${name}`, false);
      await closeDetail(page);
    }
    assert.match(await textOf(page, '#failing'), /<img src=x/);
    assert.ok((await textOf(page, 'body')).length < 60_000);
    await page.type('#search', 'search/markup');
    await page.waitForSelector('#found-pods li');
    await assertHarmless(page);
    await picture(page, 'hostile');
    for (const name of names) world.api.deletePod('search', name);
    world.api.deletePod('evil', 'app');
    await page.close();
  });

  it('10,000 pods keep the page from nothing else', async (t) => {
    const large = await startPageWorld(LARGE);
    try {
      const tasks = await longestTasks(await browser.newPage(), large.url, async (visited) => {
        await visited.waitForFunction(`document.querySelectorAll('.cell').length === ${LARGE.nodes}`, {
          timeout: LIMIT_MS,
        });
        await visited.type('#search', 'api', { delay: 50 });
        await visited.waitForSelector('#found-pods li');
        await new Promise((resolve) => setTimeout(resolve, 5000));
        await picture(visited, '10000-pods', false);
      });
      t.diagnostic(`longest of ${tasks.tasks} tasks: ${tasks.longestMs.toFixed(1)} ms (${tasks.longest})`);
      assert.ok(tasks.longestMs < 50, `the page was busy for ${tasks.longestMs.toFixed(1)} ms (${tasks.longest})`);
    } finally {
      await large.close();
    }
  });

  it('the page says that the server is gone, and asked nobody else all the while', async () => {
    const page = await open();
    await page.waitForSelector('.cell');
    await cluster.server.child.stop('SIGKILL');
    await shows(page, '#trouble:not([hidden])', 'does not answer');
    assert.match(await textOf(page, '#trouble'), /does not answer. Is the port-forward still running\?/);
    assert.equal(await textOf(page, '#freshness'), 'not up to date');
    await assertAccessible(page);
    await picture(page, 'gone');
    // The browser itself says that a request failed.
    await eventually('only the lost server was complained about', LIMIT_MS, () =>
      complaints.every((text) =>
        /net::ERR_CONNECTION_REFUSED|net::ERR_EMPTY_RESPONSE|net::ERR_CONNECTION_RESET/.test(text),
      ),
    );
  });

  /** The browser tells the page of the end of a dialog in a task of its own, after the key's. */
  async function closeDetail(page: Page): Promise<void> {
    await page.keyboard.press('Escape');
    await page.waitForFunction("document.querySelector('dialog[open]') === null && location.hash === ''");
  }

  async function assertAccessible(page: Page): Promise<void> {
    await page.evaluate(axe.source);
    const found: unknown = await page.evaluate('axe.run().then(({ violations }) => violations)');
    const violations = found as readonly {
      readonly id: string;
      readonly impact: string;
      readonly nodes: readonly unknown[];
    }[];
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    assert.deepEqual(
      serious.map(({ id, nodes: [node] }) => `${id}: ${JSON.stringify(node)}`),
      [],
    );
  }

  async function assertHarmless(page: Page): Promise<void> {
    assert.doesNotMatch(await page.title(), /owned/);
    assert.equal(await page.$('main img, main script, dialog img, dialog script'), null);
    const text = await page.evaluate('document.body.textContent').then(String);
    // oxlint-disable-next-line no-control-regex -- none of these may be there
    assert.doesNotMatch(text, /[\u0000-\u0008\u000b-\u001f\u202a-\u202e\u2066-\u2069]/);
    assert.equal(await isWider(page), false);
  }
});
