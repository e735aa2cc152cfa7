import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { type Screen, showStatus, type StatusAnswers } from '#bin/status-screen.ts';
import type { ServerStatus } from '#server/status/server-status.ts';

import { ManualClock } from '../../support/manual-clock.ts';

const STATUS: ServerStatus = {
  replica: {
    name: 'kiam-server-0',
    process: 1,
    version: '0.1.0',
    waitingFor: [],
    viewAgeSeconds: 1,
    viewProblem: null,
    streams: 1,
    certificateDaysLeft: 300,
    sts: { limit: 128, inFlight: 0, waiting: 0, paused: false, callsPerSecond: null },
  },
  nodes: [],
  identities: [],
  failing: [{ pod: 'team/app', node: 'node-1', reason: 'STS failed: AccessDenied' }],
  namespaces: Array.from({ length: 15 }, (_, index) => ({
    name: `team-${index}`,
    problem: 'permits nothing',
    pods: 1,
  })),
  pods: 1,
  leftOut: { identities: 0, failing: 0 },
};

/** Follows a status until the clock has moved for so long, and returns what was written each time. */
async function follow(
  flags: Partial<{ json: boolean; failing: boolean; watch: boolean }>,
  {
    answers = [{ replicas: [STATUS], problems: [] }],
    forMs = 0,
    ...screen
  }: Partial<Screen> & {
    readonly answers?: readonly StatusAnswers[];
    readonly forMs?: number;
  } = {},
): Promise<{
  readonly pages: readonly string[];
  readonly complaints: readonly string[];
  readonly isAnswered: boolean;
}> {
  const clock = new ManualClock();
  const pages: string[] = [];
  const complaints: string[] = [];
  const ended = new AbortController();
  let asked = 0;
  const shown = showStatus(
    { json: false, failing: false, watch: false, ...flags },
    {
      ask: () => Promise.resolve(answers[Math.min(asked++, answers.length - 1)] ?? { replicas: [], problems: [] }),
      screen: {
        write: (text) => void pages.push(text),
        complain: (text) => void complaints.push(text),
        isTerminal: false,
        wantsColours: true,
        lines: () => 1000,
        ...screen,
      },
      clock,
      signal: ended.signal,
    },
  );
  await clock.advance(forMs);
  ended.abort();
  return { isAnswered: await shown, pages, complaints };
}

describe('the screen of kiam status', () => {
  it('the status is shown once, or every 2 seconds with --watch', async () => {
    assert.equal((await follow({}, { forMs: 10_000 })).pages.length, 1);
    assert.equal((await follow({ watch: true }, { forMs: 1999 })).pages.length, 1);
    assert.equal((await follow({ watch: true }, { forMs: 10_000 })).pages.length, 6);
  });

  it('the status has colours on a terminal alone, unless NO_COLOR is set', async () => {
    const hasColours = async (screen: Partial<Screen>): Promise<boolean> =>
      (await follow({}, screen)).pages.join('').includes('\u001b[31m');
    assert.deepEqual(
      [
        await hasColours({ isTerminal: true }),
        await hasColours({ isTerminal: true, wantsColours: false }),
        await hasColours({ isTerminal: false }),
      ],
      [true, false, false],
    );
  });

  it('a watched status fills the terminal and no more, with what is wrong at its top', async () => {
    const answers = [{ replicas: [STATUS], problems: ['kiam-server-1 does not answer'] }];
    const { pages, complaints } = await follow(
      { watch: true },
      { answers, isTerminal: true, wantsColours: false, lines: () => 12 },
    );
    const [page = ''] = pages;
    const moves = ['\u001b[H', '\u001b[K', '\u001b[J'];
    const lines = moves
      .reduce((text, move) => text.replaceAll(move, ''), page)
      .trimEnd()
      .split('\n');
    assert.equal(lines.length, 11);
    assert.equal(lines[0], 'kiam: kiam-server-1 does not answer');
    assert.ok(lines.some((line) => line.includes('STS failed: AccessDenied')));
    assert.match(lines.at(-1) ?? '', /^\.\.\. \d+ more lines$/);
    assert.ok(page.startsWith('\u001b[H') && page.endsWith('\u001b[J'));
    assert.deepEqual(complaints, []);
  });

  it('a watched status survives servers that are away, and says so', async () => {
    const away = { replicas: [], problems: ['no server answers'] };
    const { pages, complaints, isAnswered } = await follow(
      { watch: true },
      { answers: [away, { replicas: [STATUS], problems: [] }, away], forMs: 4000 },
    );
    assert.deepEqual([complaints.length, isAnswered], [2, false]);
    assert.equal(pages.filter((page) => page.includes('kiam-server-0')).length, 1);
  });

  it('with --json each status is one document, and one line while it is watched', async () => {
    const { pages } = await follow({ json: true, watch: true }, { isTerminal: true, forMs: 2000 });
    for (const page of pages) {
      assert.match(page, /^\{.*\}\n$/);
      assert.deepEqual((JSON.parse(page) as { replicas: unknown[] }).replicas, [JSON.parse(JSON.stringify(STATUS))]);
    }
    const [once = ''] = (await follow({ json: true })).pages;
    assert.ok(once.split('\n').length > 10);
  });
});
