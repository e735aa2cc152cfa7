import type { StsMinute } from '#server/status/history.ts';

import { byId, h, kindById, setText, svg } from './dom.ts';
import type { ShownOverview } from './store.ts';
import { clockTime, counted } from './text.ts';

const MINUTES = 60;
const HEIGHT = 120;
/** A single failure among hundreds of calls is still drawn. */
const LEAST_HEIGHT = 3;
const MINUTE_MS = 60_000;

const NONE = { calls: 0, failures: 0, throttled: 0 };

/** A column for each minute: successful calls, and failed ones on top. */
export function createStsView(): (overview: ShownOverview) => void {
  const details = kindById('sts-table', HTMLDetailsElement);
  let last: ShownOverview | undefined;
  let drawn = '';
  details.addEventListener('toggle', () => last !== undefined && details.open && showTable(last));
  return (overview) => {
    last = overview;
    const state = JSON.stringify([overview.sts, Math.floor(overview.nowMs / MINUTE_MS)]);
    if (state === drawn) return;
    drawn = state;
    showSum(overview);
    showColumns(overview);
    if (details.open) showTable(overview);
  };
}

function showSum({ sts, replica: { sts: pace } }: ShownOverview): void {
  const calls = sum(sts, 'calls');
  const failures = sum(sts, 'failures');
  const throttled = sum(sts, 'throttled');
  const parts = [
    counted(calls, 'call'),
    failures === 0 ? 'none failed' : `${failures} failed`,
    ...(throttled > 0 ? [`${throttled} of them throttled`] : []),
    ...(pace.paused ? ['STS counts as unavailable: only probes are sent'] : []),
    ...(pace.waiting > 0 ? [`${pace.waiting} wait for their turn`] : []),
  ];
  setText(byId('sts-sum'), `${parts.join(', ')}.`);
}

function sum(minutes: readonly StsMinute[], name: 'calls' | 'failures' | 'throttled'): number {
  return minutes.reduce((total, minute) => total + minute[name], 0);
}

function showColumns({ sts, nowMs }: ShownOverview): void {
  const now = Math.floor(nowMs / MINUTE_MS);
  const byMinute = new Map(sts.map((one) => [one.minute, one]));
  const most = Math.max(1, ...sts.map(({ calls }) => calls));
  const columns = Array.from({ length: MINUTES }, (_, index) => {
    const minute = now - MINUTES + 1 + index;
    const { calls, failures, throttled } = byMinute.get(minute) ?? NONE;
    const heights = [calls - failures, failures - throttled, throttled].map((count) =>
      count === 0 ? 0 : Math.max(LEAST_HEIGHT, (count / most) * (HEIGHT - 10)),
    );
    let bottom = HEIGHT;
    const rects = heights.flatMap((height, part) => {
      bottom -= height;
      const at = { x: String(index * 10 + 1), y: String(bottom), width: '8', height: String(height) };
      return height > 0 ? [svg('rect', { ...at, class: ['answered', 'failed', 'throttled'][part] ?? '' })] : [];
    });
    const title = `${clockTime(minute * MINUTE_MS).slice(0, 5)}: ${counted(calls, 'call')}, ${failures} failed`;
    return svg(
      'g',
      {},
      svg('title', {}, title),
      svg('rect', { x: String(index * 10), y: '0', width: '10', height: String(HEIGHT), class: 'ground' }),
      ...rects,
    );
  });
  const label = `Calls to STS by the minute: ${byId('sts-sum').textContent}`;
  byId('sts').replaceChildren(
    h('p', { class: 'most', 'aria-hidden': 'true' }, `${most} a minute`),
    svg(
      'svg',
      { viewBox: `0 0 600 ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
      ...columns,
    ),
    h(
      'p',
      { class: 'axis', 'aria-hidden': 'true' },
      h('span', {}, '60 min ago'),
      h('span', {}, '30'),
      h('span', {}, 'now'),
    ),
    h(
      'ul',
      { class: 'legend', 'aria-hidden': 'true' },
      ...['answered', 'failed', 'throttled'].map((name) => h('li', {}, h('span', { class: `swatch ${name}` }), name)),
    ),
  );
}

function showTable({ sts }: ShownOverview): void {
  byId('sts-table')
    .querySelector('tbody')
    ?.replaceChildren(
      ...sts
        .toReversed()
        .map(({ minute, calls, failures, throttled }) =>
          h(
            'tr',
            {},
            h('th', { scope: 'row' }, clockTime(minute * MINUTE_MS).slice(0, 5)),
            ...[calls, failures, throttled].map((count) => h('td', {}, String(count))),
          ),
        ),
    );
}
