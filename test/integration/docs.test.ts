import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { FORMER_FLAGS } from '#bin/flags/command-line.ts';
import { PLUGIN_HELP } from '#bin/plugin/plugin-arguments.ts';

import { countedRows } from '../support/line-counts.ts';
import { type BenchResults, withResults } from '../support/performance-page.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const files = ['README.md', ...(await readdir(`${ROOT}docs`)).map((name) => `docs/${name}`)].filter((file) =>
  file.endsWith('.md'),
);
const pages = await Promise.all(files.map(async (file) => ({ file, text: await readFile(ROOT + file, 'utf8') })));
const names = (await readdir(`${ROOT}src`, { recursive: true })).filter((name) => name.endsWith('.ts'));
const sources = (await Promise.all(names.map((name) => readFile(`${ROOT}src/${name}`, 'utf8')))).join('\n');
const iam = await readFile(`${ROOT}docs/iam.md`, 'utf8');

/** The flags that the daemons print with --help, or that a command prints. */
function flagsOf(...command: readonly string[]): string[] {
  const { stdout, status } = spawnSync(process.execPath, [join(ROOT, 'src/bin/kiam.ts'), ...command, '--help'], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  });
  assert.equal(status, 0);
  return Array.from(stdout.matchAll(/--([a-z0-9-]+)/g), ([, flag = '']) => flag);
}

describe('the pages', () => {
  it('the pages begin with a README of at most 150 lines', () => {
    const [readme = { text: '' }] = pages;
    assert.ok(readme.text.trimEnd().split('\n').length <= 150);
  });

  it('the pages are all reached from the README', () => {
    const [readme = { text: '' }, ...others] = pages;
    for (const { file } of others) assert.ok(readme.text.includes(`](${file})`), file);
  });

  it('the pages name paths that exist, in commands and in links', () => {
    for (const { file, text } of pages) {
      const named = Array.from(text.matchAll(/(?:-[fk] |helm upgrade [\w -]*)(deploy\/[\w/.-]*)/g), ([, path = '']) =>
        join(ROOT, path),
      );
      const linked = Array.from(text.matchAll(/\]\((?!https?:|#)([^)#]+)/g), ([, path = '']) =>
        join(ROOT, dirname(file), path),
      );
      for (const path of [...named, ...linked]) assert.ok(existsSync(path), `${file}: ${path}`);
    }
  });

  it('the pages have every section of the specification that the code cites', () => {
    const specification = pages.find(({ file }) => file === 'docs/specification.md')?.text ?? '';
    const cited = new Set(Array.from(sources.matchAll(/docs\/specification\.md, (\d+)(?:\.(\d+))?/g), ([all]) => all));
    assert.ok(cited.size > 5);
    for (const citation of cited) {
      const [, section = '', item] = /(\d+)(?:\.(\d+))?$/.exec(citation) ?? [];
      const [, text] = specification.split(new RegExp(`^## ${section}\\. `, 'm'));
      assert.ok(text !== undefined, citation);
      if (item !== undefined) assert.match(text.split(/^## /m)[0] ?? '', new RegExp(`^${item}\\. `, 'm'), citation);
    }
  });

  it('the pages name files of the project that exist', () => {
    const { text = '' } = pages.find(({ file }) => file === 'docs/architecture.md') ?? {};
    const named = Array.from(text.matchAll(/`((?:src|test|proto)\/[\w./-]+)`/g), ([, path = '']) => path);
    assert.ok(named.length > 30);
    for (const path of named) assert.ok(existsSync(join(ROOT, path)), path);
  });

  it('the pages name for each threat that is stopped the tests that try it', () => {
    const { text = '' } = pages.find(({ file }) => file === 'docs/SECURITY.md') ?? {};
    const rows = Array.from(text.matchAll(/^\| (?!threat |---)([^|]+) \| ([^|]+) \| ([^|]+) \|$/gm));
    assert.ok(rows.length > 15);
    for (const [, threat = '', outcome = '', triedBy = ''] of rows) {
      const tests = Array.from(triedBy.matchAll(/`(test\/[\w./-]+)`/g), ([, path = '']) => path);
      assert.ok(tests.length > 0 || outcome.startsWith('**not stopped**'), `${threat}: tried by nothing`);
      for (const path of tests) assert.ok(existsSync(join(ROOT, path)), path);
    }
  });

  it('the pages count the lines of what is made by hand, within a quarter', async () => {
    const { text = '' } = pages.find(({ file }) => file === 'docs/architecture.md') ?? {};
    const rows = await countedRows(text);
    assert.ok(rows.length > 10);
    for (const { files, written, counted } of rows) {
      assert.ok(
        Math.abs(written - counted) <= counted / 4,
        `${files.join()}: ${written}, not ${counted}: npm run docs`,
      );
    }
  });

  it('the pages quote of a bench run what the kept file of its results says', async () => {
    const { text = '' } = pages.find(({ file }) => file === 'docs/performance.md') ?? {};
    const results: BenchResults = JSON.parse(await readFile(`${ROOT}docs/performance-results.json`, 'utf8'));
    assert.ok(results.figures.length >= 7, 'a whole run');
    assert.equal(text, withResults(text, results));
  });

  it('the pages have commands of kubectl that kubectl takes', (t) => {
    if (spawnSync('kubectl', ['version', '--client']).status !== 0)
      return t.skip('NOT TESTED: kubectl is not on the PATH');
    const folders = new Set(
      pages.flatMap(({ text }) => Array.from(text.matchAll(/-k (deploy\/[\w-]+)/g), ([, path = '']) => path)),
    );
    assert.ok(folders.size >= 4);
    for (const folder of folders) {
      const { status, stderr } = spawnSync('kubectl', ['kustomize', ROOT + folder], { encoding: 'utf8' });
      assert.equal(status, 0, `${folder}: ${stderr}`);
    }
  });

  it('the pages have policy documents that are JSON, of the version that IAM wants, and that name one action of STS at least', () => {
    const documents = Array.from(iam.matchAll(/```json\n([^`]+)```/g), ([, text = '']) => JSON.parse(text));
    assert.ok(documents.length >= 5);
    for (const { Version, Statement } of documents) {
      assert.equal(Version, '2012-10-17');
      for (const { Effect, Action } of Statement) {
        assert.equal(Effect, 'Allow');
        for (const action of [Action].flat()) assert.match(action, /^sts:(?:AssumeRole|TagSession|SetSourceIdentity)$/);
      }
    }
  });

  it('the pages quote of logs, answers and the doctor only what the program says', () => {
    const { text = '' } = pages.find(({ file }) => file === 'docs/troubleshooting.md') ?? {};
    const after = text.slice(text.indexOf('\n## 404'));
    const quoted = Array.from(after.matchAll(/`([^`\n]+)`/g), ([, quote = '']) => quote).filter(
      (quote) => quote.includes(' ') && !/^(?:kubectl|kiam|aws|curl|dnsPolicy)\b/.test(quote),
    );
    assert.ok(quoted.length > 50, String(quoted.length));
    for (const quote of quoted) {
      // What stands for something is `…`; templates may put two texts together at a colon.
      const pieces = quote.split(/…|: /).filter((piece) => /\w{3}/.test(piece));
      for (const piece of pieces) assert.ok(sources.includes(piece.trim()), `${quote}: nobody says '${piece.trim()}'`);
    }
  });

  it('the pages name only flags that the daemons have', () => {
    const known = new Set([
      ...flagsOf('agent'),
      ...flagsOf('server'),
      ...flagsOf('doctor', 'agent'),
      ...flagsOf('doctor', 'server'),
      ...flagsOf('doctor'),
      ...flagsOf('pki'),
      ...flagsOf('kube2iam'),
      ...flagsOf('whois'),
      ...flagsOf('status'),
      ...Array.from(PLUGIN_HELP.matchAll(/--([a-z-]+)/g), ([, flag = '']) => flag),
      // The page on migrating names what Kiam had before.
      ...[...FORMER_FLAGS.keys()].map((flag) => flag.slice('--'.length)),
    ]);
    assert.ok(known.size > 30);
    for (const { file, text } of pages.filter((page) =>
      /installing|iam|upgrading|runbook|troubleshooting/.test(page.file),
    )) {
      for (const [, flag = ''] of text.matchAll(/`(?:kiam agent )?--([a-z0-9-]+)/g)) {
        if (flag !== 'disable-session-tags') assert.ok(known.has(flag.replace(/^no-/, '')), `${file}: --${flag}`);
      }
    }
  });
});
