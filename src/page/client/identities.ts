import type { IdentityRow } from '../wire.ts';
import { byId, createShortList, h, setAttributes, setText, svg } from './dom.ts';
import { hashOf } from './place.ts';
import type { ShownOverview } from './store.ts';
import { counted, roleName, spokenTime, visible } from './text.ts';

const HOUR_SECONDS = 3600;
/** A session may last a little longer than a whole hour. */
const TOLERANCE_SECONDS = 60;
const BINS = 60;

interface ShownIdentity {
  readonly key: string;
  readonly row: IdentityRow;
  /** Undefined where nothing is served. */
  readonly leftSeconds: number | undefined;
  /** The length of the scale. */
  readonly scaleSeconds: number;
}

/** A histogram of the time that identities have left, and a bar for each of the worst. */
export function createIdentitiesView(): (overview: ShownOverview) => void {
  const show = createShortList<ShownIdentity>({
    list: byId('identities'),
    more: byId('identities-more'),
    step: 25,
    key: ({ key }) => key,
    create: ({ row }) =>
      h(
        'li',
        {},
        h(
          'a',
          { class: 'role', href: hashOf({ kind: 'role', name: row.roleArn }), title: visible(row.roleArn) },
          h('bdi', {}, visible(roleName(row.roleArn))),
        ),
        h('span', { class: 'bar', 'aria-hidden': 'true' }, h('span')),
        h('span', { class: 'left' }),
        h('span', { class: 'answer' }, h('bdi')),
      ),
    update: showIdentity,
  });
  return ({ tables, nowMs, leftOut }) => {
    const rows = [...tables.identities].map(([key, row]) => ({ key, row, leftSeconds: leftOf(row, nowMs) }));
    const longest = Math.max(0, ...rows.map(({ row }) => (row.expiresAt ?? 0) - (row.issuedAt ?? 0)));
    const scaleSeconds = HOUR_SECONDS * Math.max(1, Math.ceil((longest - TOLERANCE_SECONDS) / HOUR_SECONDS));
    const sorted = rows
      .toSorted((left, right) => right.row.failures - left.row.failures || orderOf(left) - orderOf(right))
      .map((one) => ({ ...one, scaleSeconds }));
    show(sorted, sorted.length + leftOut.identities);
    showSum(sorted, leftOut.identities);
    showLives(sorted, scaleSeconds);
    showScale(scaleSeconds);
  };
}

function leftOf({ isServed, expiresAt }: IdentityRow, nowMs: number): number | undefined {
  return isServed && expiresAt !== null ? Math.max(0, expiresAt - nowMs / 1000) : undefined;
}

function orderOf({ leftSeconds }: { readonly leftSeconds: number | undefined }): number {
  return leftSeconds ?? Number.MAX_SAFE_INTEGER;
}

function stateOf({ row: { failures }, leftSeconds }: ShownIdentity): string {
  if (failures > 0) return leftSeconds === undefined ? 'bad' : 'warn';
  return leftSeconds === undefined ? 'empty' : 'good';
}

function showIdentity(element: HTMLElement, shown: ShownIdentity): void {
  const { row, leftSeconds, scaleSeconds } = shown;
  const [, bar, left, answer] = element.children;
  const fill = bar?.firstElementChild;
  setAttributes(element, { class: stateOf(shown) });
  if (fill instanceof HTMLElement) fill.style.width = `${Math.min(100, (100 * (leftSeconds ?? 0)) / scaleSeconds)}%`;
  if (left !== undefined)
    setText(left, leftSeconds === undefined ? (row.failures > 0 ? 'none' : 'not here') : spokenTime(leftSeconds));
  const problem = row.failures > 0 ? `${row.lastAnswer} (${counted(row.failures, 'time')} in a row)` : '';
  const text = answer?.firstElementChild;
  if (text !== null && text !== undefined) setText(text, visible(problem || counted(row.pods, 'pod'), 600));
}

function showSum(shown: readonly ShownIdentity[], leftOut: number): void {
  const failing = shown.filter(({ row }) => row.failures > 0).length;
  const waiting = shown.filter((one) => stateOf(one) === 'empty').length;
  const parts = [
    counted(shown.length + leftOut, 'identity', 'identities'),
    ...(failing > 0 ? [`STS fails for ${failing}`] : []),
    ...(waiting > 0 ? [`${waiting} not fetched here: their nodes are another replica's`] : []),
  ];
  setText(
    byId('identities-sum'),
    `${parts.join(', ')}. Those of which STS fails come first, then those that end soonest.`,
  );
}

/** The histogram of time left: a healthy server has no identity near the left edge. */
function showLives(shown: readonly ShownIdentity[], scaleSeconds: number): void {
  const bins = Array.from({ length: BINS }, () => 0);
  for (const { leftSeconds } of shown) {
    if (leftSeconds === undefined) continue;
    const bin = Math.min(BINS - 1, Math.floor((leftSeconds / scaleSeconds) * BINS));
    bins[bin] = (bins[bin] ?? 0) + 1;
  }
  const most = Math.max(1, ...bins);
  const soon = bins.slice(0, BINS / 12).reduce((sum, count) => sum + count, 0);
  const label = `How much life is left: ${counted(soon, 'identity', 'identities')} of ${shown.length} with less than ${spokenTime(scaleSeconds / 12)}`;
  const bars = bins.map((count, bin) =>
    svg('rect', {
      x: String(bin * 10 + 1),
      width: '8',
      y: String(60 - (count / most) * 56),
      height: String((count / most) * 56),
      class: bin < BINS / 12 ? 'warn' : 'good',
    }),
  );
  byId('lives').replaceChildren(
    svg('svg', { viewBox: '0 0 600 60', preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, ...bars),
  );
}

function showScale(scaleSeconds: number): void {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => spokenTime(scaleSeconds * part).replace(/(\D)0+[sm]$/, '$1'));
  if (byId('scale').textContent === ticks.join('')) return;
  byId('scale').replaceChildren(...ticks.map((tick) => h('span', {}, tick)));
}
